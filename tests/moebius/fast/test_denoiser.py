import pytest
import torch

from moebius import MoebiusConfig, load_denoiser
from moebius.fast import FastDenoiser
from moebius.network.denoiser import Denoiser
from moebius.sampling.sampler import CONDITION_IDS, UNCONDITIONAL_IDS
from tests.conftest import TINY_GOLDEN, golden, golden_state_dict, relative_error

BRANCHES = (CONDITION_IDS, UNCONDITIONAL_IDS)


def predict_golden(model: Denoiser, expected: dict[str, torch.Tensor], dtype=torch.float32) -> torch.Tensor:
    """The fast path on each sample of a golden file, under the context that the file names for it."""
    fast = FastDenoiser(model, BRANCHES).lower(dtype)
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
def test_bfloat16_tiny_is_near_the_published_code_and_nearer_than_the_plain_model(tiny_golden_state):
    expected = golden("unet_tiny")
    model = load_denoiser(tiny_golden_state, TINY_GOLDEN)
    ours = relative_error(predict_golden(model, expected, torch.bfloat16), expected["noise_pred"])
    sample, ids = expected["sample"].bfloat16(), expected["input_ids"]
    plain = model.bfloat16()(sample, expected["timesteps"], ids).float()
    assert ours <= 2e-2 and ours <= 0.6 * relative_error(plain, expected["noise_pred"])


@pytest.mark.slow
@torch.no_grad()
def test_bfloat16_full_size_is_near_the_published_code():
    expected = golden("unet_full")
    model = load_denoiser(golden_state_dict("unet_full"), MoebiusConfig())
    assert relative_error(predict_golden(model, expected, torch.bfloat16), expected["noise_pred"]) <= 2e-2


@torch.no_grad()
def test_optimizing_and_lowering_leave_the_plain_model_as_it_was(tiny_golden_state):
    model = load_denoiser(tiny_golden_state, TINY_GOLDEN)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    FastDenoiser(model, BRANCHES).lower(torch.bfloat16)
    after = model.state_dict()
    assert all(value.dtype == after[name].dtype and torch.equal(value, after[name]) for name, value in before.items())
