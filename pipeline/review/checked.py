"""Checks answers of people against the rows of a sink, and makes reviews of them."""

import hashlib
from datetime import UTC, datetime
from typing import Any

import numpy as np

from pipeline.config.job import LimitsConfig
from pipeline.config.mask import MaskConfig
from pipeline.errors import ConfigError, SampleError
from pipeline.masks.decode import read_mask_file
from pipeline.review.base import DESIGN_COLUMNS, Answer
from pipeline.review.pictures import encode_mask
from pipeline.verdicts.files import VERDICTS

ROW_COLUMNS = ["sample_id", "output_sha256", "input_version", "width", "height"]
NUMBERS = ("stratum_rows", "population_rows")


def review_of(answer: Answer, row: dict[str, Any], imported_at: datetime) -> dict[str, Any]:
    """Build one review, with the columns of :mod:`pipeline.verdicts.files`.

    Args:
        answer: what was said.
        row: of its sample, with ``ROW_COLUMNS`` and ``file_version``.
        imported_at: now.

    Raises:
        ConfigError: an invalid verdict, date, number or mask; names its place.
    """
    given = {name: text.strip() or None for name, text in answer.fields.items()}
    verdict = (given.get("verdict") or "").lower() or None
    if verdict not in (None, *VERDICTS):
        raise ConfigError(f"{answer.place}: verdict must be one of {', '.join(VERDICTS)}, got {given['verdict']!r}")
    reviewed_at = _moment(given.get("reviewed_at"), answer.place)
    mask = None if answer.corrected_mask is None else _checked_mask(answer, row)
    return {
        "sample_id": row["sample_id"],
        "verdict": verdict,
        "note": given.get("note"),
        "reviewer": given.get("reviewer"),
        "reviewed_at": min(reviewed_at or imported_at, imported_at),
        "output_sha256": given.get("output_sha256") or row["output_sha256"],
        "file_version": given.get("file_version") or row["file_version"],
        **_design(given, answer.place),
        "corrected_mask": mask,
        "corrected_sha256": hashlib.sha256(mask).hexdigest() if mask else None,
        "corrected_bytes": len(mask) if mask else None,
        "imported_at": imported_at,
    }


def _design(given: dict[str, str | None], place: str) -> dict[str, Any]:
    """Return the columns of the draw, which are all there, or none of them counts."""
    design: dict[str, Any] = {name: given.get(name) for name in DESIGN_COLUMNS}
    if not all(design.values()):
        return dict.fromkeys(DESIGN_COLUMNS)
    for name in NUMBERS:
        try:
            design[name] = int(design[name])
        except ValueError as error:
            raise ConfigError(f"{place}: {name} must be a whole number, got {design[name]!r}") from error
    return design


def _moment(text: str | None, place: str) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(f"{place}: reviewed_at must be a date such as 2026-01-31T12:00:00Z, got {text!r}") from error
    return moment.replace(tzinfo=moment.tzinfo or UTC)


def _checked_mask(answer: Answer, row: dict[str, Any]) -> bytes:
    """Return a corrected mask as a PNG in black and white of the size of the stored photo."""
    mask = answer.corrected_mask
    if not isinstance(mask, np.ndarray):
        assert mask is not None  # else nobody asks
        try:
            mask = read_mask_file(mask, MaskConfig(), LimitsConfig().max_pixels)
        except SampleError as error:
            raise ConfigError(f"{answer.place}: {error.message}") from error
    shape = row["height"], row["width"]
    if row["width"] is not None and mask.shape != shape:
        raise ConfigError(
            f"{answer.place}: the corrected mask is {mask.shape[1]}x{mask.shape[0]}, but {row['sample_id']} is stored "
            f"as {shape[1]}x{shape[0]} pixels; edit the mask that the review came with, and keep its size"
        )
    return encode_mask(mask)
