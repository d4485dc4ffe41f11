import json
import shutil

import pytest

from moebius import MoebiusConfig
from moebius.checkpoint import CheckpointError
from moebius.weights.files import WeightsUnavailableError, find_weights


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("MOEBIUS_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_the_stand_in_is_always_there_and_says_that_it_is_untrained():
    weights = find_weights("untrained")
    assert not weights.trained
    assert weights.fingerprint.startswith("untrained-")
    denoiser, vae = weights.load()
    assert denoiser.config == weights.config
    assert vae.config.latent_channels == 4


def test_folder_is_loaded_with_its_own_sizes_and_hashed(tiny_weights):
    weights = find_weights(str(tiny_weights))
    assert weights.trained and weights.config.image_size == 64
    expected = {
        "diffusion_pytorch_model.safetensors",
        "vae/config.json",
        "vae/diffusion_pytorch_model.safetensors",
    }
    assert weights.sha256.keys() == expected
    weights.load()


def test_fingerprint_follows_content_not_place(tiny_weights, tmp_path):
    copy = tmp_path / "elsewhere"
    shutil.copytree(tiny_weights, copy)
    assert find_weights(str(copy)).fingerprint == find_weights(str(tiny_weights)).fingerprint
    path = copy / "diffusion_pytorch_model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert find_weights(str(copy)).fingerprint != find_weights(str(tiny_weights)).fingerprint


def test_name_without_network_says_which_file_goes_where(home, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsUnavailableError) as caught:
        find_weights("places2")
    message = str(caught.value)
    assert "huggingface.co/hustvl/Moebius/tree/main/ft_places2" in message
    assert "diffusion_pytorch_model.bin" in message
    assert str(home / "places2") in message


def test_files_put_by_hand_are_found_by_name(home, tiny_weights):
    shutil.copytree(tiny_weights, home / "places2")
    weights = find_weights("places2")
    assert weights.denoiser.parent == home / "places2"
    assert weights.fingerprint == find_weights(str(tiny_weights)).fingerprint


def test_autoencoder_beside_the_checkpoints_is_shared(home, tiny_weights):
    shutil.copytree(tiny_weights, home / "ffhq")
    shutil.move(home / "ffhq" / "vae", home / "vae")
    assert find_weights("ffhq").vae == home / "vae"
    shutil.copytree(home / "ffhq", home.parent / "mine")
    assert find_weights(str(home.parent / "mine")).vae == home / "vae"


def test_folder_without_config_has_the_published_sizes(home, tiny_weights):
    shutil.copytree(tiny_weights, home / "celebahq")
    (home / "celebahq" / "config.json").unlink()
    weights = find_weights("celebahq")
    assert weights.config == MoebiusConfig()
    with pytest.raises(CheckpointError, match="does not fit MoebiusConfig"):
        weights.load()


def test_wrong_folder_and_wrong_config_are_named(tmp_path, tiny_weights):
    with pytest.raises(CheckpointError, match="found none at"):
        find_weights(str(tmp_path / "nowhere"))
    copy = tmp_path / "copy"
    shutil.copytree(tiny_weights, copy)
    (copy / "config.json").write_text("{broken")
    with pytest.raises(CheckpointError, match=r"config\.json must be JSON"):
        find_weights(str(copy))
    with pytest.raises(CheckpointError, match="hf://owner/repository/folder, got hf://foo"):
        find_weights("hf://foo")
    (copy / "config.json").write_text(json.dumps({"chanels": [32]}))
    with pytest.raises(CheckpointError, match="chanels"):
        find_weights(str(copy))


def test_autoencoder_that_lacks_a_key_is_refused(tmp_path, tiny_weights):
    from safetensors.torch import load_file, save_file

    copy = tmp_path / "copy"
    shutil.copytree(tiny_weights, copy)
    path = copy / "vae" / "diffusion_pytorch_model.safetensors"
    state = load_file(path)
    del state["decoder.conv_in.weight"]
    save_file(state, path, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"decoder\.conv_in\.weight"):
        find_weights(str(copy)).load()
