"""Hands a sample of results to a tool."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline.errors import ConfigError
from pipeline.report.inspector import NO_LIMIT
from pipeline.report.pictures import RowPixels, read_pixels
from pipeline.report.row_files import RowFilesReader, reason
from pipeline.review.base import Item, ReviewTool
from pipeline.review.draw import Draw
from pipeline.review.registry import REVIEW_TOOLS
from pipeline.storage.errors import usable
from pipeline.storage.storage import Storage


def hand_out(sink: Storage, storage_options: Mapping[str, Any], draw: Draw, tool: str, folder: Path) -> str:
    """Write the pictures of a draw, and what a tool needs to show them; return a sentence on what to do next.

    Args:
        sink: of the job.
        storage_options: of the sink and of the source.
        draw: of its results.
        tool: a key of ``REVIEW_TOOLS``.
        folder: to write; must be empty or not exist.

    Raises:
        ConfigError: the folder holds something, such as verdicts of another review.
    """
    target: ReviewTool = REVIEW_TOOLS.load(tool)()
    with usable(f"cannot write {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise ConfigError(f"{folder} is not empty, it may hold verdicts; choose another folder")
        return target.write(folder, draw, _items(sink, storage_options, draw), str(sink))


def _items(sink: Storage, storage_options: Mapping[str, Any], draw: Draw) -> Iterator[Item]:
    reader = RowFilesReader(sink, storage_options, draw.rows)
    found = sink.in_parallel(reader.read, draw.rows)
    for number, (row, files) in enumerate(zip(draw.rows, found, strict=True), start=1):
        try:
            pixels = read_pixels(row, files, NO_LIMIT)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one sample, the others are shown
            pixels = RowPixels(notes=[f"no picture: {reason(error)}"])
        yield Item(number, row, pixels)
