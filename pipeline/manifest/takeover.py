"""End of a run whose workers have found that another run holds the sink."""

from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.faults.epoch import TAKEN_OVER
from pipeline.manifest.lease import Lease


def until_taken_over(tables: Iterable[pa.Table], lease: Lease) -> Iterator[pa.Table]:
    """Pass rows on until a worker has stored nothing because another run holds the sink.

    A worker that alone believes so looks at another folder, as on a node that does not share the sink; its samples are
    done elsewhere.

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
