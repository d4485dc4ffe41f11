"""The interface of a tool for reviews."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from pipeline.report.pictures import RowPixels
from pipeline.review.draw import Draw

RESULT_COLUMNS = ("output_sha256", "file_version")  # what was looked at
PERSON_COLUMNS = ("sample_id", "verdict", "note", "reviewer", "reviewed_at")
DESIGN_COLUMNS = ("round", "stratum", "stratum_rows", "population", "population_rows")


@dataclass(frozen=True)
class Item:
    """One result of a draw, as it is handed to a tool.

    Args:
        number: from 1 on, in the order of the draw.
        row: its columns of the manifest, and its stratum.
        pixels: of photo, hole and result.
    """

    number: int
    row: dict[str, Any]
    pixels: RowPixels

    @property
    def name(self) -> str:
        """Name of its files, without an extension."""
        return f"{self.number:05d}"


@dataclass
class Answer:
    """The answer of a tool about one result.

    Args:
        fields: text by column of ``PERSON_COLUMNS``, ``RESULT_COLUMNS`` and ``DESIGN_COLUMNS``; empty if unknown.
        corrected_mask: a picture, or (H, W) bool; ``None`` if the mask was right.
        place: where it was found, for messages.
    """

    fields: dict[str, str]
    corrected_mask: bytes | np.ndarray | None = None
    place: str = ""


@dataclass
class Answers:
    """The answers in an export of a tool.

    Args:
        found: in the order of the export; of several for one sample the last counts.
        left_out: number of things in the export that are no answers, by kind.
    """

    found: list[Answer] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)


class ReviewTool(Protocol):
    """One tool."""

    def write(self, folder: Path, draw: Draw, items: Iterable[Item], sink: str) -> str:
        """Write what the tool opens into an empty folder, and return a sentence on what to do next."""

    def is_export(self, path: Path) -> bool:
        """Return whether a file or folder is an export of this tool."""

    def read(self, path: Path) -> Answers:
        """Read an export.

        Raises:
            ConfigError: it is damaged, or not what the tool writes.
        """
