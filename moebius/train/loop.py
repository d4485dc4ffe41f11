"""Training loop: losses, steps, averaged weights, checkpoints and a log; it resumes after a kill.

Every random draw of a step comes from the seed and the number of the step, so that a run that was killed and started
again takes the same steps as one that was not.
"""

import logging
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, distributed, nn

from moebius.train.checkpoints import CHECKPOINT, gathered, resume, save
from moebius.train.data.source import CropSource, process_index
from moebius.train.logs.board import Board, open_board
from moebius.train.logs.progress import Progress
from moebius.train.logs.rows import append_row, cut_rows
from moebius.train.optimization.ema import Ema
from moebius.train.optimization.optimizers import Optimizers
from moebius.train.settings import TrainSettings

logger = logging.getLogger(__name__)
LOG = "losses.csv"
VALIDATION = "validation.csv"


class Task(Protocol):
    """Task to train: a model, its losses and its exports."""

    uses_muon: bool

    @property
    def source(self) -> CropSource:
        """Where the crops come from."""
        ...

    @property
    def model(self) -> nn.Module:
        """Model whose parameters are trained."""
        ...

    def losses(self, batch_index: int) -> dict[str, Tensor]:
        """Return scalars of one batch by name; the step reduces ``total``."""
        ...

    def export(self, state: Mapping[str, Tensor], folder: Path) -> None:
        """Write the averaged weights as files."""
        ...

    def validate(self, state: Mapping[str, Tensor]) -> dict[str, float]:
        """Measure the averaged weights on photos that training never sees; no figures without such photos."""
        ...

    def draw_grid(self, state: Mapping[str, Tensor], target: Path) -> None:
        """Write a PNG of samples made with the averaged weights."""
        ...


def train(task: Task, settings: TrainSettings, publish: Callable[[], None] = lambda: None) -> None:
    """Run ``settings.steps`` steps, less those that an earlier run finished.

    Args:
        task: the task to train.
        settings: settings of the run; ``settings.folder`` holds the checkpoint, the log, grids and the exported
            weights. Several processes of torch.distributed see the same folder; the first writes it.
        publish: called by the first process when a checkpoint is whole.

    Raises:
        CheckpointError: the folder holds the checkpoint of another model.
        FloatingPointError: a loss or a gradient that is not a number, with the step.
    """
    folder, writes = Path(settings.folder), process_index() == 0
    folder.mkdir(parents=True, exist_ok=True)
    optimizers = Optimizers(task.model, settings, task.uses_muon)
    ema = Ema(task.model, settings.ema_decay)
    first = resume(folder / CHECKPOINT, task.model, task.source, ema, optimizers)
    board = open_board(folder, first) if writes and settings.tensorboard else None
    if writes:
        for name in (LOG, VALIDATION):
            cut_rows(folder / name, first)
        if first == 0:
            _validate(task, ema.state, folder, first, board)  # where training starts from
    progress = Progress(folder / LOG, board, first, settings.steps)
    for step_index in range(first, settings.steps):
        losses = _accumulate(task, step_index, settings.accumulate)
        average_gradients(task.model)
        norm = optimizers.step(step_index)
        done = step_index + 1
        ema.update(task.model, done)
        if writes and done % settings.log_every == 0:
            progress.note(done, {name: float(value) for name, value in losses.items()}, norm)
        if done % settings.checkpoint_every and done != settings.steps:
            continue
        positions = gathered(task.source.state())
        if writes:
            _show(task, ema.state, folder, done, board)
            # Last: who is killed before this takes the steps again, who is killed after it has all that is to be seen.
            save(folder / CHECKPOINT, done, task.model, ema, optimizers, positions)
            publish()
    if writes:
        logger.info("trained %d steps: weights, losses, samples and figures are in %s", settings.steps, folder)


def _accumulate(task: Task, step_index: int, count: int) -> dict[str, Tensor]:
    """Add up the gradients of the mean loss of ``count`` batches, and return the mean of each term.

    Raises:
        FloatingPointError: a loss is not a number, or infinite.
    """
    means: dict[str, Tensor] = {}
    for part in range(count):
        losses = task.losses(step_index * count + part)
        total = float(losses["total"].detach())
        if not math.isfinite(total):
            raise FloatingPointError(f"the loss at step {step_index} is {total}: lower the learning_rate")
        (losses["total"] / count).backward()
        for name, value in losses.items():
            means[name] = means.get(name, 0) + value.detach() / count
    return means


def average_gradients(model: nn.Module) -> None:
    """Give every process the mean gradient.

    Done after the backward pass, not during it like ``DistributedDataParallel``, whose hooks would also see the
    extra passes that balance the losses.
    """
    if not distributed.is_initialized():
        return
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(flat)
    flat /= distributed.get_world_size()
    for gradient, part in zip(gradients, flat.split([gradient.numel() for gradient in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))


def _show(task: Task, state: Mapping[str, Tensor], folder: Path, done: int, board: Board | None) -> None:
    """Write the averaged weights, samples made with them, and their figures on held-out photos."""
    task.export(state, folder)
    task.draw_grid(state, folder / "grid.png")
    if board is not None:
        board.add_grid(folder / "grid.png", done)
    _validate(task, state, folder, done, board)


def _validate(task: Task, state: Mapping[str, Tensor], folder: Path, done: int, board: Board | None) -> None:
    """Write the figures of the averaged weights on held-out photos, if there are any."""
    figures = task.validate(state)
    if not figures:
        return
    logger.info("held out, step %d: %s", done, ", ".join(f"{name} {value:.4g}" for name, value in figures.items()))
    row = {"step": done, **{f"held_out_{name}": value for name, value in figures.items()}}
    append_row(folder / VALIDATION, row)
    if board is not None:
        board.add_row(row)
