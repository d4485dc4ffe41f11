import torch
from safetensors.torch import load_file, save_file

from jobs.convert import main


def test_values_that_float16_cannot_hold_are_refused(tmp_path, capsys):
    save_file({"small": torch.ones(2), "large": torch.tensor([1.0, -70_000.0])}, tmp_path / "a.safetensors")
    assert main([str(tmp_path / "a.safetensors"), str(tmp_path / "b.safetensors"), "--any", "--half"]) == 2
    assert "float16 cannot hold large, which reaches 70000" in capsys.readouterr().err
    assert not (tmp_path / "b.safetensors").exists()


def test_a_checkpoint_may_be_halved_in_its_place(tmp_path):
    path = tmp_path / "a.safetensors"
    save_file({"weight": torch.arange(5000.0), "count": torch.tensor(3)}, path)
    assert main([str(path), str(path), "--any", "--half", "--force"]) == 0
    assert torch.equal(load_file(path)["weight"], torch.arange(5000.0).half())
    assert [file.name for file in tmp_path.iterdir()] == ["a.safetensors"]


def test_a_checkpoint_of_another_model_is_named_with_the_way_to_convert_it(tiny_weights, tmp_path, capsys):
    source = tiny_weights / "vae" / "diffusion_pytorch_model.safetensors"
    save_file(load_file(source), tmp_path / "vae.safetensors")
    assert main([str(tmp_path / "vae.safetensors"), str(tmp_path / "vae.bin")]) == 2
    errors = capsys.readouterr().err
    assert errors.startswith(f"moebius: {tmp_path}/vae.safetensors") and "--any converts" in errors


def test_a_full_disk_ends_the_command_with_one_line(tmp_path, capsys, monkeypatch):
    def fill_the_disk(content, path):
        raise RuntimeError("unexpected pos 64 vs 0")

    save_file({"weight": torch.ones(2)}, tmp_path / "a.safetensors")
    monkeypatch.setattr(torch, "save", fill_the_disk)
    assert main([str(tmp_path / "a.safetensors"), str(tmp_path / "b.bin"), "--any"]) == 1
    assert capsys.readouterr().err == f"moebius: cannot write {tmp_path}/b.bin, is the disk full? (RuntimeError)\n"
