"""Compare the sink of a job under fire with that of an undisturbed run."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.sinks.results import read_result
from pipeline.sinks.shards import sample_count
from pipeline.storage.storage import Storage
from tests.drill.fast_worker import HANG, KILL


@dataclass(frozen=True)
class Verdict:
    """Differences between the two runs.

    Args:
        differences: seven counts by name, all zero where nothing differs.
        quarantined: number of samples that were found to be faulty, by error type.
        strange: type and message of the errors of other samples, and how many have them.
    """

    differences: dict[str, int]
    quarantined: dict[str, int]
    strange: dict[tuple[str, str], int]


def judge(calm_sink: Storage, fire_sink: Storage, s3: dict[str, Any], samples: Sequence[str]) -> Verdict:
    """Compare rows and bytes of both sinks.

    Args:
        calm_sink, fire_sink: of the undisturbed run, and of the one under fire.
        s3: options that reach the bucket, if the sinks are in one.
        samples: names of all samples.
    """
    calm, fire = read_rows(calm_sink), read_rows(fire_sink)
    names = set(samples)
    rows = {row["sample_id"]: row for row in fire}
    expected = {row["sample_id"]: row["output_sha256"] for row in calm}
    named = Counter(row["output_uri"] for row in fire if row["output_uri"])
    files = {fire_sink.uri(file.key) for file in fire_sink.list_files("data")}
    hashes = {
        name: hashlib.sha256(read_result(row, {} if fire_sink.is_local else s3)).hexdigest()
        for name, row in rows.items()
        if row["output_uri"] in files
    }
    blamed = {name: row["error_type"] for name, row in rows.items() if row["status"] == "failed"}
    faulty = {name: "WorkerDied" for name in names if name.endswith(KILL)}
    faulty |= {name: "TimedOut" for name in names if name.endswith(HANG)}
    differences = {
        "lost": len(names - rows.keys()),
        "twice": len(fire) - len(rows),
        "blamed without fault": len(blamed.keys() - faulty.keys()),
        "faults not found": sum(blamed.get(name) != kind for name, kind in faulty.items()),
        "half written": sum(hashes.get(name) != row["output_sha256"] for name, row in rows.items()),
        "without a row": len(files - named.keys())
        + sum((sample_count(uri) or named[uri]) - rows_in_it for uri, rows_in_it in named.items()),
        "other bytes": sum(expected.get(name) != hashes.get(name) for name in rows if name not in faulty),
    }
    strange = [row for row in fire if row["status"] != "ok" and row["sample_id"] not in faulty]
    return Verdict(
        differences,
        dict(Counter(blamed.values())),
        dict(Counter((row["error_type"], row["error_message"]) for row in strange)),
    )


def read_rows(sink: Storage) -> list[dict[str, Any]]:
    """Return all rows of all parts, also of those that later ones replace."""
    parts = sorted(file.key for file in sink.list_files("manifest"))
    return pa.concat_tables([pq.read_table(pa.BufferReader(sink.read(part))) for part in parts]).to_pylist()
