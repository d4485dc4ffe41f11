import pytest
import torch

from moebius import MoebiusConfig, load_denoiser
from moebius.network.functional import timestep_embedding
from tests.conftest import TINY_GOLDEN, golden, golden_state_dict, relative_error

TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def tiny(tiny_golden_state):
    return load_denoiser(tiny_golden_state, TINY_GOLDEN)


@pytest.fixture(scope="module")
def expected():
    return golden("unet_tiny")


@torch.no_grad()
def test_denoiser_tiny_equals_published_code(tiny, expected):
    noise = tiny(expected["sample"], expected["timesteps"], expected["input_ids"])
    assert relative_error(noise, expected["noise_pred"]) <= TOLERANCE


@torch.no_grad()
def test_denoiser_blocks_equal_published_code(tiny, expected):
    outputs = []
    hooks = [
        level.register_forward_hook(lambda module, inputs, output: outputs.append(output))
        for level in [*tiny.down_levels, *tiny.up_levels]
    ]
    tiny(expected["sample"], expected["timesteps"], expected["input_ids"])
    for hook in hooks:
        hook.remove()
    blocks = [output[-1] if isinstance(output, list) else output for output in outputs]
    assert len(blocks) == 6
    for index, block in enumerate(blocks):
        assert relative_error(block, expected[f"block_outputs.{index}"]) <= TOLERANCE, index


def _map(tokens: torch.Tensor) -> torch.Tensor:
    side = round(tokens.shape[1] ** 0.5)
    return tokens.mT.unflatten(2, (side, side))


DOWN, UP = "down_blocks.0", "up_blocks.0"
TRANSFORMER = f"{DOWN}.attentions.0.transformer_blocks.0"
MODULES = {  # published name → (our module, how its inputs and output are laid out)
    "conv_in": ("conv_in", None),
    "conv_out": ("conv_out", None),
    "time_embedding": ("time", None),
    f"{DOWN}.resnets.0": ("down_levels.0.residuals.0", None),
    f"{DOWN}.attentions.0": ("down_levels.0.transformers.0", None),
    f"{TRANSFORMER}.attn1": ("down_levels.0.transformers.0.local", _map),
    f"{TRANSFORMER}.attn2": ("down_levels.0.transformers.0.interactive", _map),
    f"{TRANSFORMER}.ff": ("down_levels.0.transformers.0.feed_forward", _map),
    f"{DOWN}.downsamplers.0": ("down_levels.0.downsample", None),
    f"{UP}.resnets.0": ("up_levels.0.residuals.0", None),
    f"{UP}.upsamplers.0": ("up_levels.0.upsample", None),
}


@pytest.mark.parametrize("published", MODULES)
@torch.no_grad()
def test_module_equals_published_code(tiny, expected, published):
    name, layout = MODULES[published]
    prefix = f"modules.diff_model.{published}"
    inputs = [expected[key] for key in sorted(expected) if key.startswith(f"{prefix}.in")]
    output = expected[f"{prefix}.out"]
    if layout:
        inputs[0], output = layout(inputs[0]), layout(output)
    assert relative_error(tiny.get_submodule(name)(*inputs), output) <= TOLERANCE


def test_timestep_embedding_equals_published_code(expected):
    embedding = timestep_embedding(expected["timesteps"], 32)
    assert relative_error(embedding, expected["modules.diff_model.time_embedding.in0"]) <= TOLERANCE


@torch.no_grad()
def test_denoiser_full_size_equals_published_code():
    expected = golden("unet_full")
    model = load_denoiser(golden_state_dict("unet_full"), MoebiusConfig())
    assert sum(parameter.numel() for parameter in model.parameters()) == 226_041_531
    assert len(model.state_dict()) == 1203
    noise = model(expected["sample"], expected["timesteps"], expected["input_ids"])
    assert relative_error(noise, expected["noise_pred"]) <= TOLERANCE


@torch.no_grad()
def test_timesteps_of_one_broadcast_over_the_batch(tiny, expected):
    one = tiny(expected["sample"], torch.tensor([500]), expected["input_ids"])
    each = tiny(expected["sample"], torch.tensor([500, 500, 500]), expected["input_ids"])
    assert relative_error(one, each) <= TOLERANCE


def test_denoiser_refuses_latents_of_another_size(tiny):
    with pytest.raises(ValueError, match=r"must be \(B, 9, 16, 16\), got \(1, 9, 8, 8\)"):
        tiny(torch.zeros(1, 9, 8, 8), torch.tensor([0]), torch.zeros(1, 10, dtype=torch.int64))
