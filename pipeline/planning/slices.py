"""Selects the samples that belong to a slice of a run.

The hash of a name decides: the name of the sample or, if a source of shards names samples by their files, the name of
the file, so that only one driver reads each shard. Samples with the same result name are always in the same slice.
"""

from pipeline.config.job import JobConfig
from pipeline.config.slice import Slice
from pipeline.config.source import SourceConfig
from pipeline.database import Database
from pipeline.sources.base import result_name
from pipeline.storage.storage import Storage, StoredFile


def slices_files(source: SourceConfig) -> bool:
    """Return whether slices hold whole files of a source; else they hold samples."""
    return source.rules.is_sharded and source.key is None


def in_slice(own_slice: Slice, shard: StoredFile) -> bool:
    """Return whether a shard belongs to a slice."""
    return own_slice.holds(result_name(shard.key))


def leave_out_other_slices(config: JobConfig, database: Database) -> None:
    """Delete samples and rows of other slices from the tables ``samples`` and ``rows``; the latter has ``input_uri``.

    Samples of other slices' files are not in the tables. Rows of files that lie elsewhere now go by their own name.
    """
    own_slice = config.run.own_slice
    if own_slice is None:
        return
    if not slices_files(config.source):
        database.run(f"DELETE FROM samples WHERE NOT ({own_slice.holds_sql('sample_id')})")
        database.run(f"DELETE FROM rows WHERE NOT ({own_slice.holds_sql('sample_id')})")
        return
    root = f"{Storage(config.source.uri, config.storage)}/"
    file = "if(starts_with(input_uri, $root), substr(input_uri, length($root) + 1), sample_id)"
    database.run(f"DELETE FROM rows WHERE NOT coalesce({own_slice.holds_sql(file)}, false)", {"root": root})
