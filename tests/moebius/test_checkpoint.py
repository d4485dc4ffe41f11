import os

import pytest
import torch
from safetensors import SafetensorError

import moebius.checkpoint as checkpoint
from moebius import load_denoiser
from moebius.checkpoint import CheckpointError, read_state_dict, write_state_dict
from tests.conftest import TINY_GOLDEN


def test_bin_and_safetensors_round_trip_without_a_difference(tiny_golden_state, tmp_path):
    torch.save(tiny_golden_state, tmp_path / "a.bin")
    write_state_dict(read_state_dict(tmp_path / "a.bin"), tmp_path / "b.safetensors")
    write_state_dict(read_state_dict(tmp_path / "b.safetensors"), tmp_path / "c.bin")
    returned = torch.load(tmp_path / "c.bin", weights_only=True)
    assert returned.keys() == tiny_golden_state.keys()
    for key, value in tiny_golden_state.items():
        assert returned[key].dtype == value.dtype and torch.equal(returned[key], value), key
    load_denoiser(tmp_path / "b.safetensors", TINY_GOLDEN)


class _Malicious:
    def __reduce__(self):
        return os.system, ("touch pwned",)


def test_pickled_code_in_a_checkpoint_does_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"embedding_layer.weight": _Malicious()}, tmp_path / "evil.bin")
    with pytest.raises(CheckpointError, match=r"not a readable checkpoint: it must hold tensors, and no code$"):
        read_state_dict(tmp_path / "evil.bin")
    assert not (tmp_path / "pwned").exists()


def test_missing_and_broken_files_are_named(tmp_path):
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        read_state_dict(tmp_path / "none.bin")
    (tmp_path / "text.safetensors").write_text("hello")
    with pytest.raises(
        CheckpointError, match=r"text.safetensors is not a readable checkpoint: it is cut short or damaged"
    ):
        read_state_dict(tmp_path / "text.safetensors")


def test_others_may_read_what_is_written_where_files_are_open_to_them(tmp_path):
    (tmp_path / "plain").touch()
    for name in ("a.safetensors", "a.bin"):
        write_state_dict({"weight": torch.zeros(1)}, tmp_path / name)
        assert (tmp_path / name).stat().st_mode == (tmp_path / "plain").stat().st_mode, name


@pytest.mark.parametrize("name", ["a.safetensors", "a.bin"])
def test_a_write_that_breaks_off_leaves_the_old_file_and_nothing_else(name, tmp_path, monkeypatch):
    def break_off(content, path):
        path.write_bytes(b"half")
        raise (SafetensorError if name.endswith(".safetensors") else RuntimeError)("unexpected position")

    path, values = tmp_path / name, torch.arange(3.0)
    write_state_dict({"weight": values}, path)
    monkeypatch.setattr(checkpoint, "save_file", break_off)
    monkeypatch.setattr(torch, "save", break_off)
    with pytest.raises(OSError, match=f"cannot write {path}, is the disk full"):
        write_state_dict({"weight": -values}, path)
    assert torch.equal(read_state_dict(path)["weight"], values)
    assert list(tmp_path.iterdir()) == [path]
