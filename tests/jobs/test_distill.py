from dataclasses import fields

import pytest
import yaml

from jobs.configuration.load import load_training_config
from jobs.distill import main
from moebius.weights import WeightsUnavailableError
from pipeline.errors import ConfigError
from pipeline.training.config import TrainingConfig
from tests.conftest import ROOT


@pytest.mark.parametrize("name", ["distill", "train_nano", "train_places2"])
def test_the_configurations_that_ship_are_read(name):
    config = load_training_config(str(ROOT / "conf" / f"{name}.yaml"), ["steps=7", "folder=2026", "decay_steps=[3, 5]"])
    assert (config.steps, config.folder, config.decay_steps) == (7, "2026", (3, 5))


def test_fine_tuning_on_places2_takes_the_batch_and_the_steps_of_the_paper():
    config = load_training_config(str(ROOT / "conf" / "train_places2.yaml"), [])
    assert config.batch_size * config.accumulate * config.processes == 88 and config.steps == 51_000
    assert config.unconditional_share == 0


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


@pytest.mark.parametrize(
    ("error", "code", "ending"),
    [
        (FloatingPointError("the loss at step 7 is nan: lower the learning_rate"), 1, ""),
        (
            OSError("cannot write out/checkpoint.pt, is the disk full?"),
            1,
            "; after fixing the cause, run the same command again to resume",
        ),
        (WeightsUnavailableError("cannot fetch a from b"), 2, ""),
    ],
)
def test_what_ends_a_training_is_one_line(error, code, ending, tmp_path, capsys, monkeypatch):
    def fail(config):
        raise error

    monkeypatch.setattr("pipeline.training.run.run_training", fail)
    path = tmp_path / "train.yaml"
    path.write_text(f"mode: vae\nphotos: photos.npz\nfolder: {tmp_path}/out\n")
    assert main([str(path)]) == code
    assert capsys.readouterr().err == f"moebius: {error}{ending}\n"


def test_a_folder_that_cannot_be_written_is_refused_with_one_line(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    path = tmp_path / "train.yaml"
    path.write_text(f"mode: vae\nphotos: photos.npz\nfolder: {tmp_path}/file\n")
    assert main([str(path)]) == 2
    assert capsys.readouterr().err.startswith(f"moebius: cannot write {tmp_path}/file/checkpoint.pt: ")


def test_the_configuration_of_distillation_lists_every_key():
    written = yaml.safe_load((ROOT / "conf" / "distill.yaml").read_text())
    assert written.keys() == {field.name for field in fields(TrainingConfig)}
