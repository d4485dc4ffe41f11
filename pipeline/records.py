"""Schemas of planned samples and of manifest rows."""

from dataclasses import dataclass, fields
from datetime import datetime

import pyarrow as pa

OK, UNCHANGED, FAILED = "ok", "unchanged", "failed"
STATUSES = (OK, UNCHANGED, FAILED)
RESULT_DAMAGED, RESULT_MISSING = RESULT_FAULTS = (
    "ResultDamaged",
    "ResultMissing",
)  # error types that are always retried
# Statuses of rows that workers return for unfinished samples; they never appear in a manifest.
DEFERRED = "deferred"  # the fault may be the worker's own, so the sample is retried
HELD = "held"  # the storage accepts no writes, or refuses the credentials: never the sample's fault
RETURNED = "returned"  # the worker leaves before it was done; the sample is as fresh as before
UNDONE = (DEFERRED, HELD, RETURNED)


# One planned sample:
# - input_version changes whenever the image or its own mask does;
# - file is the key of the file with the image, below the source's uri, null where that is the sample_id; locator says
#   where in it the image is, in the terms of its source format;
# - size_bytes are those of image and mask, mask_bytes of a mask that is a file of its own, else null;
# - mask_key is relative to the mask uri, null if there is no mask; mask_spec holds the annotations as text;
# - fault is a reason, known when planning, why it cannot be read, as "Type: sentence";
# - mask_review is the key, in the sink, of the file of reviews with a corrected mask, which takes the place of the
#   sample's own; null without one.
# - carried holds the columns of a list for sink.carry as a stream of Arrow, null where a list carries nothing.
SAMPLE_SCHEMA = pa.schema(
    [
        ("sample_id", pa.string()),
        ("input_version", pa.string()),
        ("size_bytes", pa.int64()),
        ("file", pa.string()),
        ("locator", pa.list_(pa.int64())),
        ("mask_key", pa.string()),
        ("mask_bytes", pa.int64()),
        ("mask_spec", pa.string()),
        ("fault", pa.string()),
        ("mask_review", pa.string()),
        ("carried", pa.binary()),
    ]
)


@dataclass
class Record:
    """One manifest row; the columns are described in ``docs/reference/manifest.md``."""

    sample_id: str
    status: str
    error_stage: str | None = None
    error_type: str | None = None
    error_message: str | None = None
    input_uri: str | None = None
    input_version: str | None = None
    mask_kind: str | None = None
    mask_uri: str | None = None
    width: int | None = None
    height: int | None = None
    mask_fraction: float | None = None
    window_count: int | None = None
    output_uri: str | None = None
    output_member: str | None = None
    output_format: str | None = None
    output_bytes: int | None = None
    output_sha256: str | None = None
    outside_max_diff: int | None = None
    seam_score: float | None = None
    seed: int | None = None
    weights_fingerprint: str | None = None
    config_fingerprint: str | None = None
    run_id: str | None = None
    started_at: datetime | None = None
    decode_s: float | None = None
    inpaint_s: float | None = None
    encode_s: float | None = None
    worker: str | None = None
    suspicious: str | None = None
    orientation: int | None = None
    mask_objects: int | None = None
    mask_score: float | None = None
    residual: float | None = None
    tries: int | None = None
    blocks_changed: int | None = None
    mask_computed: float | None = None
    mask_place: str | None = None
    metadata_note: str | None = None


_ARROW_TYPES = {str: pa.string(), int: pa.int64(), float: pa.float64(), datetime: pa.timestamp("us", tz="UTC")}


def _arrow_type(annotation: object) -> pa.DataType:
    members = getattr(annotation, "__args__", (annotation,))  # of ``str | None``
    return next(_ARROW_TYPES[member] for member in members if member in _ARROW_TYPES)


MANIFEST_SCHEMA = pa.schema([pa.field(column.name, _arrow_type(column.type)) for column in fields(Record)])


def to_table(records: list[Record]) -> pa.Table:
    """Convert records to an Arrow table of ``MANIFEST_SCHEMA``."""
    return pa.Table.from_pylist([vars(record) for record in records], schema=MANIFEST_SCHEMA)
