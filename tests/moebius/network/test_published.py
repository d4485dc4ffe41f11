import doctest

import pytest
import torch

from moebius import MoebiusConfig, load_denoiser
from moebius.checkpoint import CheckpointError, write_state_dict
from moebius.network import published
from moebius.network.denoiser import Denoiser
from moebius.network.published import published_name
from tests.conftest import GOLDEN, TINY_GOLDEN


def test_documented_example_holds():
    assert doctest.testmod(published).failed == 0


@pytest.mark.parametrize(("name", "config"), [("unet_tiny", TINY_GOLDEN), ("unet_full", MoebiusConfig())])
def test_names_and_shapes_equal_published_checkpoint(name, config):
    lines = (GOLDEN / f"{name}.keys.tsv").read_text().splitlines()
    expected = dict(line.split("\t") for line in lines)
    with torch.device("meta"):
        own = Denoiser(config).state_dict()
    shapes = {published_name(key): "x".join(map(str, value.shape)) for key, value in own.items()}
    assert shapes == expected


def test_load_refuses_missing_and_unexpected_keys_by_name(tiny_golden_state):
    state = dict(tiny_golden_state)
    state["extra.weight"] = state.pop("embedding_layer.weight")
    with pytest.raises(CheckpointError, match=r"1 missing keys \(embedding_layer.weight\).*\(extra.weight\)"):
        load_denoiser(state, TINY_GOLDEN)


def test_load_refuses_another_size_with_both_shapes(tiny_golden_state):
    other = MoebiusConfig(channels=(32, 64, 128), image_size=64, category_width=96, context_width=48)
    with pytest.raises(CheckpointError, match=r"is \(256, 10, 4, 1\), expected \(64, 10, 4, 1\)"):
        load_denoiser(tiny_golden_state, other)


def test_files_of_half_the_size_are_computed_in_float32(tiny_golden_state, tmp_path):
    halves = {key: value.half() if value.is_floating_point() else value for key, value in tiny_golden_state.items()}
    write_state_dict(halves, tmp_path / "half.safetensors")
    for name, value in load_denoiser(tmp_path / "half.safetensors", TINY_GOLDEN).state_dict().items():
        assert torch.equal(value, halves[published_name(name)].to(value.dtype)), name
        assert value.dtype == tiny_golden_state[published_name(name)].dtype, name
