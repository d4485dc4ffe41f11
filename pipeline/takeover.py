"""End of a run whose workers have found that another run holds the sink."""

from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.epoch import TAKEN_OVER
from pipeline.lease import Lease
from pipeline.supervisor import JobError


def until_taken_over(tables: Iterable[pa.Table], lease: Lease) -> Iterator[pa.Table]:
    """Pass rows on until a worker has given samples back because another run holds the sink.

    More passes would only repeat work that is given back again.

    Args:
        tables: rows as workers return them.
        lease: of this run.

    Raises:
        LeaseHeldError: another run holds the sink.
        JobError: this run still holds it, so the worker looks at another folder.
    """
    for rows in tables:
        if pc.any(pc.equal(rows["error_type"], TAKEN_OVER)).as_py():
            lease.check()
            raise JobError(
                f"the worker {rows['worker'][0].as_py()} does not see in {lease.storage} that this run holds it, while "
                "the driver does: all nodes must share sink.uri"
            )
        yield rows
