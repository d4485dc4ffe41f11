"""Checkpoints of a training run: model, averaged weights, optimizers, and where every process was in its source."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import distributed, nn

from moebius.checkpoint import CheckpointError, read_checkpoint, write_checkpoint
from moebius.train.data.source import CropSource, process_count, process_index
from moebius.train.optimization.ema import Ema
from moebius.train.optimization.optimizers import Optimizers

logger = logging.getLogger(__name__)
CHECKPOINT = "checkpoint.pt"


def gathered(position: dict[str, int]) -> list[dict[str, int]]:
    """Return the positions of all processes in their sources, by rank."""
    if not distributed.is_initialized():
        return [position]
    positions: list[dict[str, int]] = [{} for _ in range(process_count())]
    distributed.all_gather_object(positions, position)
    return positions


def save(
    path: Path,
    step: int,
    model: nn.Module,
    ema: Ema,
    optimizers: Optimizers,
    positions: Sequence[dict[str, int]],
) -> None:
    """Write a checkpoint; the old one is replaced when the new one is whole."""
    content: dict[str, Any] = {
        "step": step,
        "positions": list(positions),
        "model": model.state_dict(),
        "ema": ema.state,
        "optimizers": optimizers.state_dict(),
    }
    write_checkpoint(content, path)


def resume(path: Path, model: nn.Module, source: CropSource, ema: Ema, optimizers: Optimizers) -> int:
    """Load a checkpoint where there is one, and return the number of steps that were taken.

    Raises:
        CheckpointError: unreadable, of another model, or of a run whose optimizers had other groups of parameters.
    """
    if not path.is_file():
        return 0
    content = read_checkpoint(path)
    try:
        model.load_state_dict(content["model"])
        ema.load(content["ema"])
        is_resumable = optimizers.fits(content["optimizers"])
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} is of another model: choose another folder, or delete it") from error
    if not is_resumable:
        raise CheckpointError(
            f"{path} cannot be resumed, its optimizers have other groups of parameters: it is of an earlier version, "
            "or other parts of the model were trained. With a new folder, its exported weights are trained further: "
            "init=FOLDER, or vae=FOLDER/vae with mode=vae"
        )
    optimizers.load_state_dict(content["optimizers"])
    _resume_source(source, content.get("positions", []))
    logger.info("%d of %d steps were taken before, see %s", content["step"], optimizers.settings.steps, path)
    return int(content["step"])


def _resume_source(source: CropSource, positions: Sequence[Mapping[str, int]]) -> None:
    """Go on where this process was; with another number of processes, begin the least epoch of all anew."""
    positions = [position for position in positions if position]
    if len(positions) == process_count():
        source.resume(positions[process_index()])
    elif positions:
        epoch = min(position["epoch"] for position in positions)
        logger.warning(
            "the checkpoint is of %d processes, now there are %d: epoch %d of the source begins anew",
            *(len(positions), process_count(), epoch),
        )
        source.resume({"epoch": epoch})
