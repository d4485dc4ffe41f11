import pytest

from jobs.configuration import load_training_config
from jobs.distill import main
from pipeline.errors import ConfigError
from tests.conftest import ROOT


@pytest.mark.parametrize("name", ["distill", "train_nano"])
def test_the_configurations_that_ship_are_read(name):
    config = load_training_config(str(ROOT / "conf" / f"{name}.yaml"), ["steps=7", "folder=2026", "decay_steps=[3, 5]"])
    assert (config.steps, config.folder, config.decay_steps, config.processes) == (7, "2026", (3, 5), 1)


def test_unknown_keys_and_missing_inputs_are_refused_before_anything_starts(tmp_path, capsys):
    path = tmp_path / "train.yaml"
    path.write_text("mode: diffusion\nphotos: photos.npz\n")
    with pytest.raises(ConfigError, match="stepz"):
        load_training_config(str(path), ["stepz=1"])
    assert main([str(path)]) == 2
    assert "mode diffusion needs vae" in capsys.readouterr().err


def test_photos_that_are_not_there_end_the_command_with_one_line(tmp_path, capsys):
    path = tmp_path / "train.yaml"
    path.write_text(f"mode: vae\nphotos: {tmp_path}/photos.npz\nfolder: {tmp_path}/out\n")
    assert main([str(path)]) == 2
    assert capsys.readouterr().err.endswith(f"python -m moebius.train.photos FOLDER {tmp_path}/photos.npz\n")


def test_a_loss_that_is_no_number_ends_the_command_with_one_line(tmp_path, capsys, monkeypatch):
    def diverge(config):
        raise FloatingPointError("the loss at step 7 is nan: lower the learning_rate")

    monkeypatch.setattr("pipeline.training.run_training", diverge)
    path = tmp_path / "train.yaml"
    path.write_text("mode: vae\nphotos: photos.npz\n")
    assert main([str(path)]) == 1
    assert capsys.readouterr().err == "moebius: the loss at step 7 is nan: lower the learning_rate\n"
