"""Log of a training run for TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class Board:
    """Figures and grids of a run.

    Args:
        writer: writer of the run's folder.
    """

    def __init__(self, writer: SummaryWriter) -> None:
        self.writer = writer

    def add_row(self, row: Mapping[str, float]) -> None:
        """Add a row of ``losses.csv`` or ``validation.csv``."""
        for name, value in row.items():
            if name != "step":
                self.writer.add_scalar(name, value, int(row["step"]))
        self.writer.flush()

    def add_grid(self, path: Path, step: int) -> None:
        """Add a PNG of samples."""
        with Image.open(path) as image:
            self.writer.add_image("grid", np.asarray(image.convert("RGB")), step, dataformats="HWC")
        self.writer.flush()


def open_board(folder: Path, first: int) -> Board:
    """Open a log below a folder; entries of a killed run after its last checkpoint, at ``first``, are dropped."""
    from torch.utils.tensorboard import SummaryWriter

    return Board(SummaryWriter(str(folder), purge_step=first + 1))
