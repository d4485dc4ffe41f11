"""Takes the answers of people back into the sink, after checking them against its rows."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.database import Database
from pipeline.errors import ConfigError
from pipeline.manifest.tombstones import name_hash, read_forgotten
from pipeline.report.figures import load_rows
from pipeline.review.base import Answer, ReviewTool
from pipeline.review.checked import ROW_COLUMNS, review_of
from pipeline.review.registry import REVIEW_TOOLS
from pipeline.sources.versions import file_version_sql
from pipeline.storage.errors import usable
from pipeline.storage.storage import Storage
from pipeline.verdicts.files import SCHEMA, create_file, erase


@dataclass
class TakenBack:
    """The outcome of an import.

    Args:
        key: of the new file of reviews; ``None`` where nothing was stored.
        is_known: the same answers were imported before.
        verdicts: number of reviews by verdict.
        corrected_masks: number of them with a corrected mask.
        left_out: answers that are no reviews, by reason.
        outdated: reviews of results that have been replaced since.
    """

    key: str | None = None
    is_known: bool = False
    verdicts: Counter[str] = field(default_factory=Counter)
    corrected_masks: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    outdated: int = 0


@usable()
def take_back(sink: Storage, path: Path) -> TakenBack:
    """Import the verdicts, notes and corrected masks in an export of a tool.

    Nothing is stored unless all answers are valid; the same answers are stored once.

    Args:
        sink: of the job.
        path: of the export, a file or a folder.

    Raises:
        ConfigError: no export of any tool, an invalid answer, or a corrected mask that does not fit.
    """
    answers = _tool_of(path).read(path)
    taken = TakenBack(left_out=Counter(answers.left_out))
    said = [answer for answer in answers.found if _says_something(answer)]
    latest = {answer.fields.get("sample_id", ""): answer for answer in said}
    taken.left_out["without a verdict"] += len(answers.found) - len(said)
    taken.left_out["replaced by a later answer about the same sample"] += len(said) - len(latest)
    rows = _rows_of(sink, list(latest))
    taken.left_out["of unknown samples"] += len(latest.keys() - rows.keys())
    imported_at = datetime.now(UTC)
    reviews = [review_of(latest[name], rows[name], imported_at) for name in sorted(latest.keys() & rows.keys())]
    taken.verdicts.update(review["verdict"] or "no verdict" for review in reviews)
    taken.corrected_masks = sum(review["corrected_mask"] is not None for review in reviews)
    taken.outdated = sum(review["output_sha256"] != rows[review["sample_id"]]["output_sha256"] for review in reviews)
    taken.left_out = +taken.left_out
    if reviews:
        taken.key = create_file(sink, pa.Table.from_pylist(reviews, SCHEMA), _identity(reviews, imported_at))
        taken.is_known = taken.key is None
        _erase_forgotten(sink, [review["sample_id"] for review in reviews])
    return taken


def _tool_of(path: Path) -> ReviewTool:
    if not path.exists():
        raise ConfigError(f"--import: {path} does not exist")
    tools: list[ReviewTool] = [REVIEW_TOOLS.load(name)() for name in REVIEW_TOOLS]
    found = next((tool for tool in tools if tool.is_export(path)), None)
    if found is None:
        raise ConfigError(
            f"--import: {path} is neither a CSV file, a folder with verdicts.csv, a JSON export of Label Studio, nor a "
            "folder that FiftyOne exported as FiftyOneDataset"
        )
    return found


def _says_something(answer: Answer) -> bool:
    return answer.corrected_mask is not None or any(answer.fields.get(name, "").strip() for name in ("verdict", "note"))


def _rows_of(sink: Storage, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the rows of samples, with the version of their photo's file."""
    with Database() as database:
        load_rows(sink, database, ROW_COLUMNS)
        query = f"""SELECT {", ".join(ROW_COLUMNS)}, {file_version_sql("input_version")} AS file_version
            FROM rows JOIN (SELECT unnest($names::VARCHAR[]) AS sample_id) USING (sample_id)"""
        found = database.stream(query, max(len(names), 1), {"names": list(names)})
        return {row["sample_id"]: row for table in found for row in table.to_pylist()}


def _identity(reviews: Sequence[dict[str, Any]], imported_at: datetime) -> bytes:
    """Return bytes that are equal for equal answers, whenever they are imported."""
    kept = [
        {
            **{name: value for name, value in review.items() if name not in ("imported_at", "corrected_mask")},
            "reviewed_at": None if review["reviewed_at"] == imported_at else review["reviewed_at"].isoformat(),
        }
        for review in reviews
    ]
    return json.dumps(kept, sort_keys=True).encode()


def _erase_forgotten(sink: Storage, names: Sequence[str]) -> None:
    """Delete reviews of samples that were forgotten while they were imported."""
    forgotten = read_forgotten(sink)
    if gone := [name for name in names if name_hash(name) in forgotten]:
        erase(sink, gone)
