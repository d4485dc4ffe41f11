import pytest
import torch

from moebius import MoebiusConfig, load_denoiser
from moebius.denoiser import Denoiser
from moebius.fast import FastDenoiser
from moebius.sampler import CONDITION_IDS, UNCONDITIONAL_IDS
from tests.conftest import TINY_GOLDEN, golden, golden_state_dict, relative_error

BRANCHES = (CONDITION_IDS, UNCONDITIONAL_IDS)


def predict_golden(model: Denoiser, expected: dict[str, torch.Tensor]) -> torch.Tensor:
    """The fast path on each sample of a golden file, under the context that the file names for it."""
    fast = FastDenoiser(model, BRANCHES)
    timesteps = expected["timesteps"].expand(len(expected["sample"]))
    outputs = []
    for sample, timestep, ids in zip(expected["sample"], timesteps, expected["input_ids"], strict=True):
        both = fast(sample[None], fast.time_biases([int(timestep)])[0], len(BRANCHES))
        outputs.append(both[[list(branch) for branch in BRANCHES].index(ids.tolist())])
    return torch.stack(outputs)


@torch.no_grad()
def test_fast_denoiser_tiny_equals_published_code(tiny_golden_state):
    expected = golden("unet_tiny")
    noise = predict_golden(load_denoiser(tiny_golden_state, TINY_GOLDEN), expected)
    assert relative_error(noise, expected["noise_pred"]) <= 1e-4


@pytest.mark.slow
@torch.no_grad()
def test_fast_denoiser_full_size_equals_published_code():
    expected = golden("unet_full")
    noise = predict_golden(load_denoiser(golden_state_dict("unet_full"), MoebiusConfig()), expected)
    assert relative_error(noise, expected["noise_pred"]) <= 1e-4


@torch.no_grad()
def test_condition_alone_equals_the_first_branch_of_both(tiny_golden_state):
    fast = FastDenoiser(load_denoiser(tiny_golden_state, TINY_GOLDEN), BRANCHES)
    latents, biases = golden("unet_tiny")["sample"], fast.time_biases([500])[0]
    both, alone = (fast(latents, biases, branches) for branches in (2, 1))
    assert both.shape[0] == 2 * alone.shape[0]
    assert relative_error(both[: len(latents)], alone) <= 1e-5


@torch.no_grad()
def test_bfloat16_is_no_further_from_the_published_code_than_the_reference_in_bfloat16(tiny_golden_state):
    expected = golden("unet_tiny")
    model = load_denoiser(tiny_golden_state, TINY_GOLDEN)
    fast = FastDenoiser(model, BRANCHES).to(torch.bfloat16)
    latents = expected["sample"][:1]
    truth = model(latents, torch.tensor([437]), torch.tensor([list(CONDITION_IDS)]))
    plain = model.bfloat16()(latents.bfloat16(), torch.tensor([437]), torch.tensor([list(CONDITION_IDS)])).float()
    ours = fast(latents, fast.time_biases([437])[0], 1).float()
    assert relative_error(ours, truth) <= 1.25 * relative_error(plain, truth)
