import doctest

import pytest
import torch

from moebius import load_denoiser
from moebius.checkpoint import CheckpointError, read_state_dict, write_state_dict
from moebius.network import averaged_file
from moebius.network.denoiser import Denoiser
from moebius.network.published import published_name
from moebius.weights.files import find_weights
from tests.conftest import TINY, write_tiny_weights


@pytest.fixture
def folder(tmp_path):
    """A checkpoint, and beside it averaged parameters (all 1) as LitEma names them."""
    write_tiny_weights(tmp_path)
    plain = tmp_path / "diffusion_pytorch_model.safetensors"
    write_state_dict(read_state_dict(plain), tmp_path / "diffusion_pytorch_model.bin")
    parameters = [published_name(name) for name, _ in Denoiser(TINY).named_parameters()]
    state = read_state_dict(plain)
    averaged = {key.replace(".", ""): torch.ones_like(state[key]) for key in parameters}
    averaged |= {"decay": torch.tensor(0.9999), "num_updates": torch.tensor(7)}
    torch.save(averaged, tmp_path / "diffusion_pytorch_model.EMA.bin")
    return tmp_path


def test_documented_example_holds():
    assert doctest.testmod(averaged_file).failed == 0


def test_averaged_parameters_load_with_the_statistics_of_the_checkpoint_beside_them(folder):
    model = load_denoiser(folder / "diffusion_pytorch_model.EMA.bin", TINY)
    assert all(bool((parameter == 1).all()) for parameter in model.parameters())
    plain = load_denoiser(folder / "diffusion_pytorch_model.bin", TINY)
    buffers = dict(plain.named_buffers())
    assert buffers and all(torch.equal(value, buffers[name]) for name, value in model.named_buffers())


def test_both_files_decide_the_fingerprint_of_averaged_weights(folder):
    averaged = folder / "diffusion_pytorch_model.EMA.bin"
    before = find_weights(str(averaged))
    assert {"diffusion_pytorch_model.EMA.bin", "diffusion_pytorch_model.bin"} <= before.sha256.keys()
    before.load()
    other = read_state_dict(folder / "diffusion_pytorch_model.bin")
    name = next(key for key in other if key.endswith("running_mean"))
    write_state_dict(other | {name: other[name] + 1}, folder / "diffusion_pytorch_model.bin")
    assert find_weights(str(averaged)).fingerprint != before.fingerprint


def test_averaged_parameters_alone_are_refused_naming_the_file_that_lacks(folder):
    (folder / "diffusion_pytorch_model.bin").unlink()
    with pytest.raises(CheckpointError, match=r"put .*diffusion_pytorch_model\.bin beside it"):
        load_denoiser(folder / "diffusion_pytorch_model.EMA.bin", TINY)


def test_averaged_parameters_of_another_model_are_refused(folder):
    averaged = torch.load(folder / "diffusion_pytorch_model.EMA.bin")
    torch.save(averaged | {"strangeweight": torch.ones(1)}, folder / "diffusion_pytorch_model.EMA.bin")
    with pytest.raises(CheckpointError, match="are not of one model: strangeweight"):
        load_denoiser(folder / "diffusion_pytorch_model.EMA.bin", TINY)
