"""Compares the files of a sink with its rows: missing and damaged results, files without a row."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import pyarrow as pa

from pipeline.database import Database
from pipeline.maintenance.vacuum import check_is_sink, check_rows_are_of, load_results, matching_uri, unnamed_results
from pipeline.manifest.lease import Lease
from pipeline.manifest.log import Manifest
from pipeline.records import FAILED, MANIFEST_SCHEMA, RESULT_DAMAGED, RESULT_FAULTS, RESULT_MISSING
from pipeline.sinks.result_files import Expected, Fault, faults_of
from pipeline.sinks.shards import shard_formats
from pipeline.storage.storage import Storage

COLUMNS = ["sample_id", "status", "error_type", "output_uri", "output_member", "output_bytes", "output_sha256"]
EXAMPLES = 5  # of each kind
ROWS_AT_ONCE = 10_000
ORPHAN = "Orphan"
_FAULTS = pa.schema([("sample_id", pa.string()), ("kind", pa.string()), ("message", pa.string())])


class Example(NamedTuple):
    """One disagreement.

    Args:
        kind: ``RESULT_DAMAGED``, ``RESULT_MISSING`` or ``ORPHAN``.
        name: the sample's id, or an orphan's key.
        message: what is wrong.
    """

    kind: str
    name: str
    message: str


@dataclass
class Findings:
    """Result of a comparison.

    Args:
        files: in ``data/``.
        results: rows that name a result.
        read_bytes: how much was read to compare hashes.
        counts: disagreements by kind.
        marked: failed rows whose samples an earlier ``--mark`` left to the next run.
        examples: the first few of each kind.
    """

    files: int
    results: int
    read_bytes: int
    counts: Counter[str]
    marked: int
    examples: list[Example]

    @property
    def agree(self) -> bool:
        """Return whether every row has its result and every file its row."""
        return not self.counts


def verify(sink: Storage, run_id: str, with_hashes: bool) -> Findings:
    """Compare files with rows, and change nothing.

    Args:
        sink: where the results are.
        run_id: to look at the lease by.
        with_hashes: read every result and compare its hash, too; else only its size, as listed.

    Raises:
        ConfigError: no sink, or one that is not where its rows say.
        LeaseHeldError: a run works on it, whose results have no rows yet.
        ManifestConflictError: a run has worked on it meanwhile.
    """
    check_is_sink(sink)
    lease, manifest = Lease(sink, run_id), Manifest(sink)
    lease.check_free()
    with Database() as database:
        findings = _compare(sink, manifest, database, with_hashes)
    if not findings.agree:  # a run in between would explain it
        lease.check_free()
        manifest.check()
    return findings


def verify_and_mark(sink: Storage, run_id: str, with_hashes: bool) -> Findings:
    """Compare files with rows while holding the sink, and mark rows without a whole result as failed.

    The next run does these samples again. No result is deleted. Arguments and errors are those of :func:`verify`.
    """
    check_is_sink(sink)
    with Lease(sink, run_id) as lease, Database() as database:
        manifest = Manifest(sink)
        findings = _compare(sink, manifest, database, with_hashes)
        if any(findings.counts[kind] for kind in RESULT_FAULTS):
            lease.check()
            _mark(manifest, database, run_id)
    return findings


def _compare(sink: Storage, manifest: Manifest, database: Database, with_hashes: bool) -> Findings:
    """Create the tables ``rows``, ``files`` and ``faults``, and count their entries."""
    _compare_listing(sink, manifest, database)
    read_bytes = _compare_hashes(sink, database) if with_hashes else 0
    ((files,),) = database.run("SELECT count(*) FROM files")
    ((results, marked),) = database.run(_ROW_COUNTS)
    counts = Counter(dict(database.run("SELECT kind, count(*) FROM faults GROUP BY kind")))
    examples = [Example(*row) for row in database.run(_EXAMPLES)]
    for number, orphan in enumerate(unnamed_results(sink, database)):
        counts[ORPHAN] += 1
        if number < EXAMPLES:
            examples.append(Example(ORPHAN, orphan.key, f"{orphan.size_bytes} bytes that no row names"))
    return Findings(files, results, read_bytes, counts, marked, examples)


def _compare_listing(sink: Storage, manifest: Manifest, database: Database) -> None:
    """Add missing results, and results of unexpected size, to ``faults``."""
    manifest.load_into(database, COLUMNS)
    check_rows_are_of(sink, database)
    load_results(sink, database)
    database.run(_JOIN.format(uri=matching_uri(sink)), {"root": f"{sink}/"})
    database.create("faults", _FAULTS, iter(()))
    uncompressed = [suffix for suffix, shard in shard_formats().items() if not shard.is_compressed]
    database.run(_LISTED, {"uncompressed": uncompressed})


def _compare_hashes(sink: Storage, database: Database) -> int:
    """Read listed files concurrently, add differing results to ``faults``, and return the bytes read."""
    found: list[Fault] = []
    total_bytes, read = 0, partial(faults_of, sink)
    for read_bytes, faults in sink.in_parallel(read, _expected(database), even_local=True):
        total_bytes += read_bytes
        found += faults
        if len(found) >= ROWS_AT_ONCE:
            _add_faults(database, found)
            found = []
    _add_faults(database, found)
    return total_bytes


def _expected(database: Database) -> Iterator[Expected]:
    """Yield the results of each file, grouped by file, so that a shard is read once."""
    waiting: list[tuple[str, str | None, str]] = []
    current: str | None = None
    for table in database.stream(_TO_HASH, ROWS_AT_ONCE):
        for key, *result in zip(*(table[name].to_pylist() for name in table.column_names), strict=True):
            if key != current and current is not None:
                yield Expected(current, waiting)
                waiting = []
            current = key
            waiting.append(tuple(result))
    if current is not None:
        yield Expected(current, waiting)


def _add_faults(database: Database, found: list[Fault]) -> None:
    names, kinds, messages = (list(values) for values in zip(*found, strict=True)) if found else ([], [], [])
    database.run(_ADD, {"names": names, "kinds": kinds, "messages": messages})


def _mark(manifest: Manifest, database: Database, run_id: str) -> None:
    """Commit a failed row for each sample in ``faults``."""
    manifest.fence()
    manifest.load_into(database, MANIFEST_SCHEMA.names)
    for table in database.stream(_MARKED, ROWS_AT_ONCE, {"run": run_id}):
        manifest.append(table.cast(MANIFEST_SCHEMA))
    manifest.compact()


_JOIN = """
CREATE OR REPLACE TABLE compared AS
SELECT rows.*, files.key, files.size_bytes,
    sum(output_bytes) OVER (PARTITION BY output_uri) AS file_bytes
FROM rows LEFT JOIN files ON {uri} = concat($root, files.key)
WHERE status <> 'failed'"""

# A shard that is not compressed holds at least the bytes of its results.
_LISTED = rf"""
INSERT INTO faults SELECT sample_id,
    if(key IS NULL, '{RESULT_MISSING}', '{RESULT_DAMAGED}'),
    CASE
        WHEN key IS NULL THEN concat(output_uri, ' does not exist')
        WHEN output_member IS NULL THEN concat(key, ' has ', size_bytes, ' bytes, its row says ', output_bytes)
        ELSE concat(key, ' has ', size_bytes, ' bytes, fewer than the results in it')
    END
FROM compared
WHERE key IS NULL
    OR output_member IS NULL AND size_bytes IS DISTINCT FROM output_bytes
    OR output_member IS NOT NULL AND size_bytes < file_bytes
    AND list_contains($uncompressed, regexp_extract(key, '\.\w+$'))"""

_ADD = "INSERT INTO faults SELECT unnest($names::VARCHAR[]), unnest($kinds::VARCHAR[]), unnest($messages::VARCHAR[])"

_TO_HASH = """
SELECT key, sample_id, output_member, output_sha256 FROM compared
WHERE sample_id NOT IN (SELECT sample_id FROM faults) ORDER BY key"""

_ROW_COUNTS = f"""
SELECT count(*) FILTER (status <> '{FAILED}'), count(*) FILTER (error_type IN {RESULT_FAULTS}) FROM rows"""

_EXAMPLES = f"""
SELECT kind, sample_id, message FROM faults
QUALIFY row_number() OVER (PARTITION BY kind ORDER BY sample_id) <= {EXAMPLES} ORDER BY kind, sample_id"""

_MARKED = f"""
SELECT rows.* EXCLUDE (part, position) REPLACE (
    '{FAILED}' AS status, 'write' AS error_stage, faults.kind AS error_type, faults.message AS error_message,
    $run AS run_id, NULL AS output_uri, NULL AS output_member, NULL AS output_format,
    NULL AS output_bytes, NULL AS output_sha256)
FROM rows JOIN faults ON rows.sample_id = faults.sample_id"""
