"""Files of reviews in a sink: one Parquet file per import, created once under a name made from its content.

A later import adds a file and changes none, so two imports at the same time lose nothing, and the same import again
finds its own file. Only ``moebius forget`` rewrites a file, without the samples that are to be forgotten.
"""

import contextlib
import hashlib
import re
from collections.abc import Collection, Iterator

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.database import Database
from pipeline.errors import ConfigError
from pipeline.storage.storage import Storage
from pipeline.storage.watched import first_line, watching

FOLDER = "reviews"
GOOD, BAD, UNSURE = VERDICTS = ("good", "bad", "unsure")
GROUP_ROWS = 32  # read at once for one corrected mask
_NAME = re.compile(rf"(?:^|/)({FOLDER}/[0-9a-f]{{32}}\.parquet)\Z")
_MOMENT = pa.timestamp("us", tz="UTC")

# One review of one result:
# - reviewed_at is never after imported_at;
# - output_sha256 is the hash of the result that was looked at, file_version the version of its photo's file;
# - round names the draw that the sample belongs to, and stratum its part of it; both are null without a draw;
# - stratum_rows is the number of results in that stratum, population_rows that in all strata together, and population
#   the expression that chose them, all when the sample was drawn;
# - corrected_mask is a PNG of the photo's stored size, not zero = fill, null if the mask was right.
SCHEMA = pa.schema(
    [
        ("sample_id", pa.string()),
        ("verdict", pa.string()),
        ("note", pa.string()),
        ("reviewer", pa.string()),
        ("reviewed_at", _MOMENT),
        ("output_sha256", pa.string()),
        ("file_version", pa.string()),
        ("round", pa.string()),
        ("stratum", pa.string()),
        ("stratum_rows", pa.int64()),
        ("population", pa.string()),
        ("population_rows", pa.int64()),
        ("corrected_mask", pa.binary()),
        ("corrected_sha256", pa.string()),
        ("corrected_bytes", pa.int64()),
        ("imported_at", _MOMENT),
    ]
)
TABLE_SCHEMA = pa.schema([*(field for field in SCHEMA if field.name != "corrected_mask"), ("key", pa.string())])
MASK_SCHEMA = pa.schema([SCHEMA.field(name) for name in ("sample_id", "corrected_mask")])


class DamagedReviewsError(RuntimeError):
    """A file of reviews is not what was written; the message says why."""


def key_in(uri: str | None) -> str | None:
    """Return the key of the file of reviews that a uri names, wherever its sink was then; ``None`` for other uris."""
    found = _NAME.search(uri or "")
    return found[1] if found else None


def create_file(sink: Storage, reviews: pa.Table, identity: bytes) -> str | None:
    """Store the reviews of one import.

    Args:
        sink: of the job.
        reviews: of ``SCHEMA``.
        identity: equal for equal imports.

    Returns:
        The key of the new file; ``None`` if the same import was stored before.
    """
    key = f"{FOLDER}/{hashlib.sha256(identity).hexdigest()[:32]}.parquet"
    try:
        sink.create(key, _encode(reviews))
    except FileExistsError:
        return None
    return key


def find_keys(sink: Storage) -> list[str]:
    """Return the keys of all files of reviews, in order."""
    try:
        return sorted(file.key for file in sink.list_files(FOLDER) if key_in(file.key) == file.key)
    except NotADirectoryError:  # there is no sink, which whoever writes into it says better
        return []


def load_reviews(sink: Storage, database: Database) -> int:
    """Create the table ``reviews`` of all reviews with the ``key`` of their file, without masks; return their number.

    Raises:
        ConfigError: a file is damaged.
    """
    database.create("reviews", TABLE_SCHEMA, _all_rows(sink))
    ((count,),) = database.run("SELECT count(*) FROM reviews")
    return int(count)


def read_mask_of(sink: Storage, key: str, sample_id: str) -> bytes:
    """Read the corrected mask of a sample, a PNG.

    Raises:
        LookupError: the file has none for it.
        DamagedReviewsError: the file is damaged.
        OSError: the storage does not answer.
    """
    with _opened(sink, key) as reviews:
        for group in range(reviews.num_row_groups):
            statistics = reviews.metadata.row_group(group).column(0).statistics
            if statistics and statistics.has_min_max and not statistics.min <= sample_id <= statistics.max:
                continue
            for row in reviews.read_row_group(group, MASK_SCHEMA.names).to_pylist():
                if row["sample_id"] == sample_id and row["corrected_mask"] is not None:
                    return bytes(row["corrected_mask"])
    raise LookupError(f"{sink.uri(key)} holds no mask of {sample_id}")


def erase(sink: Storage, sample_ids: Collection[str]) -> int:
    """Delete the reviews of some samples, and return their number; the caller must hold the sink.

    A file keeps its name, which rows of other samples state as the place of their masks.

    Raises:
        ConfigError: a file is damaged, so that nobody knows whose reviews it holds.
    """
    names, count = pa.array(sorted(sample_ids), pa.string()), 0
    for key in find_keys(sink):
        try:
            with _opened(sink, key) as file:
                reviews = file.read()
        except DamagedReviewsError as error:
            raise _refusal(sink, key, error) from error
        others = reviews.filter(pc.invert(pc.is_in(reviews["sample_id"], names)))
        if removed := reviews.num_rows - others.num_rows:
            sink.write(key, _encode(others))
            count += removed
    return count


def _encode(reviews: pa.Table) -> bytes:
    buffer = pa.BufferOutputStream()
    pq.write_table(
        reviews.sort_by("sample_id").cast(SCHEMA),
        buffer,
        compression="zstd",
        row_group_size=GROUP_ROWS,
        write_page_checksum=True,
    )
    return buffer.getvalue().to_pybytes()


@contextlib.contextmanager
def _opened(sink: Storage, key: str) -> Iterator[pq.ParquetFile]:
    """Open a file of reviews; damage is noticed while it is read.

    Raises:
        DamagedReviewsError: it is not what was written.
        OSError: the storage does not answer.
    """
    with sink.open(key) as file, watching(file, _damaged, KeyError) as watched:
        yield pq.ParquetFile(watched, page_checksum_verification=True)


def _damaged(error: Exception) -> DamagedReviewsError:
    return DamagedReviewsError(first_line(error))


def _refusal(sink: Storage, key: str, error: DamagedReviewsError) -> ConfigError:
    return ConfigError(
        f"{sink.uri(key)} is damaged ({error}). Restore it from a backup, or move it out of that folder and import its "
        "reviews again"
    )


def _all_rows(sink: Storage) -> Iterator[pa.RecordBatch]:
    for key in find_keys(sink):
        try:
            with _opened(sink, key) as reviews:
                rows = reviews.read([name for name in TABLE_SCHEMA.names if name != "key"])
                keyed = rows.append_column("key", pa.array([key] * rows.num_rows, pa.string())).cast(TABLE_SCHEMA)
        except DamagedReviewsError as error:
            raise _refusal(sink, key, error) from error
        yield from keyed.to_batches()
