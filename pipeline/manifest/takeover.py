"""Ends a run when its workers find that another run holds the sink."""

from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.faults.epoch import TAKEN_OVER
from pipeline.manifest.lease import Lease


def until_taken_over(tables: Iterable[pa.Table], lease: Lease) -> Iterator[pa.Table]:
    """Yield rows until a worker reports that another run holds the sink, and the lease confirms it.

    Otherwise the worker sees another folder, on a node that does not share the sink; its samples are processed
    elsewhere.

    Args:
        tables: rows as workers return them.
        lease: of this run.

    Raises:
        LeaseHeldError: another run holds the sink.
    """
    for rows in tables:
        if pc.any(pc.equal(rows["error_type"], TAKEN_OVER)).as_py():
            lease.check()
        yield rows
