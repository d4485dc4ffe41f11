"""Chooses the rows to export, and compares them with those of an earlier export."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa

from pipeline.database import Database
from pipeline.errors import ConfigError
from pipeline.export.base import EXPORTED, Stamp, sink_identity
from pipeline.export.columns import manifest_columns, row_version_sql
from pipeline.maintenance.vacuum import check_is_sink
from pipeline.manifest.log import Manifest
from pipeline.manifest.tombstones import read_forgotten
from pipeline.records import OK, UNCHANGED
from pipeline.storage.storage import Storage

ROWS_AT_ONCE = 10_000
FORGOTTEN = "forgotten"


class Selection:
    """The rows of a sink to export, as table ``wanted`` of a database.

    Args:
        sink: of the job.
        database: to work in.
        images: one of ``registry.IMAGES``.
        with_unchanged: also rows of samples that had nothing to fill.
        with_carried: whether rows have carried columns.

    Raises:
        ConfigError: no sink, or one whose rows name results elsewhere.
    """

    def __init__(
        self, sink: Storage, database: Database, images: str, with_unchanged: bool, with_carried: bool
    ) -> None:
        check_is_sink(sink)
        self.sink, self.database = sink, database
        self.forgotten = read_forgotten(sink)
        columns = [*manifest_columns(images), "output_uri", "output_member", "error_stage", "error_type"]
        Manifest(sink).load_into(database, list(dict.fromkeys(columns)))
        statuses = [OK, UNCHANGED] if with_unchanged else [OK]
        database.run(
            "CREATE TABLE forgotten AS SELECT unnest($hashes::VARCHAR[]) AS hash", {"hashes": [*self.forgotten]}
        )
        database.run("ALTER TABLE rows ADD COLUMN forgotten BOOLEAN")
        database.run("UPDATE rows SET forgotten = sha256(sample_id) IN (FROM forgotten)")
        version = row_version_sql(images, with_carried)
        query = f"SELECT * EXCLUDE (part, position, error_stage, error_type, forgotten), {version}"
        condition = "WHERE list_contains($statuses, status) AND NOT forgotten"
        database.run(f"CREATE TABLE wanted AS {query} AS row_version FROM rows {condition}", {"statuses": statuses})
        self.left_out = self._left_out(statuses)
        self._check_rows_are_here()

    def check_forgotten(self) -> None:
        """Check that no sample was forgotten since the rows were read.

        Raises:
            ConfigError: one was.
        """
        if read_forgotten(self.sink) != self.forgotten:
            raise ConfigError(f"samples were forgotten in {self.sink} during the export; run the command again")

    def compare(self, exported: Iterable[pa.RecordBatch]) -> None:
        """Create the tables ``stale`` and ``fresh``: what the target must lose, and what it must get."""
        self.database.create("exported", EXPORTED, exported)
        self.database.run(
            "CREATE OR REPLACE TABLE stale AS SELECT sample_id, file FROM exported "
            "WHERE NOT EXISTS (FROM wanted WHERE wanted.sample_id = exported.sample_id "
            "AND wanted.row_version = exported.row_version) "
            "OR sample_id IN (SELECT sample_id FROM exported GROUP BY sample_id HAVING count(*) > 1)"
        )
        self.database.run(
            "CREATE OR REPLACE TABLE fresh AS SELECT sample_id FROM wanted WHERE sample_id NOT IN "
            "(SELECT sample_id FROM exported WHERE sample_id NOT IN (SELECT sample_id FROM stale))"
        )

    def take_all(self) -> None:
        """Make every row one that the target must get."""
        self.database.run("CREATE OR REPLACE TABLE fresh AS SELECT sample_id FROM wanted")

    def counts(self, unread: Sequence[str]) -> Counter[str]:
        """Return how many rows are ``added``, ``changed`` and ``removed``, after :meth:`compare`.

        Args:
            unread: samples whose results could not be read.
        """
        ((added, changed, removed),) = self.database.run(_COUNTS, {"unread": list(unread)})
        return Counter(added=added, changed=changed, removed=removed)

    def rows(self) -> Iterator[pa.Table]:
        """Yield the rows that the target must get, ordered by their files."""
        query = "SELECT * FROM wanted WHERE sample_id IN (FROM fresh) ORDER BY output_uri, output_member, sample_id"
        return self.database.stream(query, ROWS_AT_ONCE)

    def stamp(self, unread: Sequence[str]) -> Stamp:
        """Return the stamp of the export.

        Args:
            unread: samples whose results could not be read, and which are therefore not in it.
        """
        ((digest, rows),) = self.database.run(
            "SELECT coalesce(bit_xor(md5_number(concat(sample_id, chr(31), row_version))), 0), count(*) FROM wanted "
            "WHERE NOT list_contains($unread::VARCHAR[], sample_id)",
            {"unread": list(unread)},
        )
        return Stamp(sink_identity(str(self.sink)), f"{digest:032x}", rows)

    def _left_out(self, statuses: Sequence[str]) -> Counter[str]:
        """Count the rows that are not exported by their reason."""
        counts = self.database.run(
            "SELECT if(status = 'failed', concat('failed (', error_stage, ': ', error_type, ')'), status), count(*) "
            "FROM rows WHERE NOT forgotten AND NOT list_contains($statuses, status) GROUP BY ALL",
            {"statuses": statuses},
        )
        forgotten = {FORGOTTEN: len(self.forgotten)} if self.forgotten else {}
        return Counter({**dict(counts), **forgotten})

    def _check_rows_are_here(self) -> None:
        query = "SELECT output_uri FROM wanted WHERE NOT starts_with(output_uri, $root) LIMIT 1"
        if elsewhere := self.database.run(query, {"root": f"{self.sink}/"}):
            raise ConfigError(
                f"rows of {self.sink} name results elsewhere, such as {elsewhere[0][0]}: the sink was copied, moved or "
                "renamed; nothing was exported. Use the uri that the rows have"
            )


class StaleRows:
    """The rows of the table ``stale``, grouped by their files; see :class:`pipeline.export.base.Stale`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def count(self) -> int:
        """Return their number."""
        ((count,),) = self._database.run("SELECT count(*) FROM stale")
        return count

    def files(self) -> Iterator[tuple[str, Sequence[str]]]:
        """Yield each file that holds some, with the ids of their samples."""
        for (file,) in self._database.run("SELECT DISTINCT file FROM stale ORDER BY file"):
            ids = self._database.run("SELECT sample_id FROM stale WHERE file = $file", {"file": file})
            yield file, [name for (name,) in ids]


_COUNTS = """
WITH lost AS (SELECT unnest($unread::VARCHAR[]) AS sample_id),
    written AS (SELECT sample_id FROM fresh WHERE sample_id NOT IN (FROM lost)),
    before AS (SELECT DISTINCT sample_id FROM exported)
SELECT
    (SELECT count(*) FROM written WHERE sample_id NOT IN (FROM before)),
    (SELECT count(*) FROM written WHERE sample_id IN (FROM before)),
    (SELECT count(*) FROM before WHERE sample_id IN (FROM lost) OR sample_id NOT IN (SELECT sample_id FROM wanted))"""
