import csv
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from moebius.checkpoint import CheckpointError, read_checkpoint, write_checkpoint
from moebius.train.data.source import PackedSource, process_index
from moebius.train.loop import average_gradients, train
from moebius.train.settings import TrainSettings
from moebius.train.tasks.denoising import DenoiserTask
from moebius.train.tasks.distillation import Distillation
from moebius.train.teacher import Teacher
from moebius.weights.files import find_weights
from tests.conftest import ROOT, TINY, write_tiny_weights

SCRIPT = """
import os, signal, sys
from moebius.train.tasks.denoising import DenoiserTask
from moebius.train.loop import train
from moebius.train.settings import TrainSettings
from tests.conftest import TINY
settings = TrainSettings(photos=sys.argv[1], vae=sys.argv[2], folder=sys.argv[3], steps=12, batch_size=2,
                         checkpoint_every=4, log_every=1)
task, losses = DenoiserTask(settings, TINY), DenoiserTask.losses

def until_killed(task, batch_index):
    if batch_index == int(sys.argv[4]):
        os.kill(os.getpid(), signal.SIGKILL)
    return losses(task, batch_index)

DenoiserTask.losses = until_killed
train(task, settings)
"""


@pytest.fixture(scope="module")
def vae_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    write_tiny_weights(folder)
    return folder / "vae"


def _rows(folder):
    with (folder / "losses.csv").open() as file:
        return {int(row["step"]): float(row["total"]) for row in csv.DictReader(file)}


class _Interrupted(DenoiserTask):
    def losses(self, step_index):
        if step_index == 7:
            raise KeyboardInterrupt
        return super().losses(step_index)


def test_training_tells_its_speed_its_figures_and_its_folder(packed_photos, vae_folder, tmp_path, caplog):
    settings = TrainSettings(
        photos=str(packed_photos),
        held_out=str(packed_photos),
        vae=str(vae_folder),
        folder=str(tmp_path / "out"),
        steps=2,
        batch_size=2,
        checkpoint_every=2,
        log_every=1,
    )
    with caplog.at_level("INFO"):
        train(DenoiserTask(settings, TINY), settings)
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("moebius.train")]
    assert [line.split(":")[0] for line in lines if "held out" in line] == ["held out, step 0", "held out, step 2"]
    (told,) = [line for line in lines if line.startswith("step ")]  # the last; others after ten seconds each
    assert re.fullmatch(r"step 2/2  loss [\d.e+-]+  [\d.e+-]+ steps/s  0:00:00 left", told)
    assert lines[-1] == f"trained 2 steps: weights, losses, samples and figures are in {tmp_path}/out"


def test_a_run_that_was_interrupted_takes_the_same_steps(packed_photos, vae_folder, tmp_path):
    def settings(name):
        return TrainSettings(
            photos=str(packed_photos),
            vae=str(vae_folder),
            folder=str(tmp_path / name),
            steps=10,
            batch_size=2,
            checkpoint_every=4,
            log_every=1,
        )

    train(DenoiserTask(settings("whole"), TINY), settings("whole"))
    with pytest.raises(KeyboardInterrupt):
        train(_Interrupted(settings("broken"), TINY), settings("broken"))
    assert max(_rows(tmp_path / "broken")) == 7
    train(DenoiserTask(settings("broken"), TINY), settings("broken"))
    assert _rows(tmp_path / "broken") == pytest.approx(_rows(tmp_path / "whole"), rel=1e-6)


class _Regression:
    """A line through points, of which a batch has ``size``."""

    uses_muon = False

    def __init__(self, size):
        torch.manual_seed(0)
        self.size, self.model = size, torch.nn.Linear(3, 1)
        self.points, self.values = torch.randn(24, 3), torch.randn(24, 1)
        self.source = PackedSource(None, (), 0)  # of no use here

    def losses(self, batch_index):
        part = slice(self.size * batch_index, self.size * (batch_index + 1))
        return {"total": (self.model(self.points[part]) - self.values[part]).square().mean()}

    def export(self, state, folder):
        pass

    def validate(self, state):
        return {}

    def draw_grid(self, state, target):
        pass


def test_accumulated_batches_take_the_step_of_one_that_holds_them_all(tmp_path):
    tasks = {count: _Regression(6 // count) for count in (1, 3)}
    for count, task in tasks.items():
        settings = TrainSettings(
            mode="vae", photos="-", folder=str(tmp_path / str(count)), steps=4, accumulate=count, log_every=1
        )
        train(task, settings)
    assert _rows(tmp_path / "3") == pytest.approx(_rows(tmp_path / "1"), rel=1e-5)
    torch.testing.assert_close(tasks[3].model.weight, tasks[1].model.weight)


@pytest.mark.slow
def test_a_run_that_was_killed_takes_the_same_steps(packed_photos, vae_folder, tmp_path):
    def run(name, killed_at=-1):
        command = [
            sys.executable,
            "-c",
            SCRIPT,
            str(packed_photos),
            str(vae_folder),
            str(tmp_path / name),
            str(killed_at),
        ]
        return subprocess.run(command, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=False).returncode

    assert run("whole") == 0
    assert run("killed", 6) == -signal.SIGKILL
    assert list(_rows(tmp_path / "killed")) == list(range(1, 7))
    assert run("killed") == 0
    whole, resumed = _rows(tmp_path / "whole"), _rows(tmp_path / "killed")
    assert list(resumed) == list(range(1, 13))
    assert resumed == pytest.approx(whole, rel=1e-5)


def test_what_was_trained_loads_as_weights_and_the_loss_falls(packed_photos, vae_folder, tmp_path):
    settings = TrainSettings(
        photos=str(packed_photos),
        vae=str(vae_folder),
        folder=str(tmp_path),
        steps=40,
        batch_size=4,
        learning_rate=3e-3,
        warmup_steps=5,
        checkpoint_every=40,
        log_every=1,
    )
    train(DenoiserTask(settings, TINY), settings)
    losses = list(_rows(tmp_path).values())
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])
    assert (tmp_path / "grid.png").stat().st_size > 1000
    weights = find_weights(str(tmp_path))
    denoiser, _ = weights.load()
    assert weights.trained and denoiser.config == TINY
    with pytest.raises(CheckpointError, match="is of another model"):
        train(DenoiserTask(settings, replace(TINY, heads=TINY.heads // 2)), settings)


def _split_group(states):
    group = states[0]["param_groups"][0]
    rest = group | {"params": group["params"][3:]}
    states[0]["param_groups"] = [group | {"params": group["params"][:3]}, rest]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(_split_group, id="more groups"),
        pytest.param(lambda states: states[0]["param_groups"][0]["params"].pop(), id="fewer parameters"),
        pytest.param(lambda states: states[1]["param_groups"][0].pop("rate_scale"), id="groups without scales"),
        pytest.param(lambda states: states.pop(), id="one optimizer"),
    ],
)
def test_a_checkpoint_of_an_earlier_version_is_refused_with_the_way_on(change, packed_photos, vae_folder, tmp_path):
    settings = TrainSettings(
        photos=str(packed_photos), vae=str(vae_folder), folder=str(tmp_path), steps=1, batch_size=2
    )
    train(DenoiserTask(settings, TINY), settings)
    content = read_checkpoint(tmp_path / "checkpoint.pt")
    change(content["optimizers"])
    write_checkpoint(content, tmp_path / "checkpoint.pt")
    with pytest.raises(CheckpointError, match=r"cannot be resumed, .* earlier version, .* init=FOLDER"):
        train(DenoiserTask(settings, TINY), settings)
    assert find_weights(str(tmp_path)).trained  # as init takes them


def test_a_checkpoint_that_is_cut_short_is_refused_in_one_line(packed_photos, vae_folder, tmp_path):
    settings = TrainSettings(
        photos=str(packed_photos), vae=str(vae_folder), folder=str(tmp_path), steps=1, batch_size=2
    )
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(b"PK\x03\x04 half")
    with pytest.raises(CheckpointError, match=r"checkpoint\.pt is not a readable checkpoint"):
        train(DenoiserTask(settings, TINY), settings)


def test_a_student_whose_features_differ_in_size_from_the_teachers_is_refused(packed_photos, vae_folder, tmp_path):
    settings = TrainSettings(
        mode="distil",
        teacher="given",
        photos=str(packed_photos),
        vae=str(vae_folder),
        folder=str(tmp_path),
        batch_size=2,
    )
    teacher = Teacher((32, 32, 32, 32), TINY.category_width, TINY.context_width).eval().requires_grad_(False)
    task = DenoiserTask(settings, TINY, distillation=Distillation(teacher, "published"))
    with pytest.raises(ValueError, match="one shape"):
        task.losses(0)  # two levels against four


def _average(rank: int, rendezvous: str) -> None:
    torch.distributed.init_process_group("gloo", f"file://{rendezvous}", rank=rank, world_size=2)
    model = torch.nn.Linear(2, 1)
    model.weight.grad = torch.full((1, 2), float(rank))
    model.bias.grad = torch.full((1,), 10.0 * rank)
    average_gradients(model)
    assert process_index() == rank
    assert model.weight.grad.tolist() == [[0.5, 0.5]] and model.bias.grad.tolist() == [5.0]
    torch.distributed.barrier()  # neither leaves while the other still talks
    torch.distributed.destroy_process_group()


def test_two_processes_share_the_mean_gradient(tmp_path):
    torch.multiprocessing.spawn(_average, (str(tmp_path / "rendezvous"),), nprocs=2)
