"""Quarantines samples that kill their workers: each becomes a failed row."""

from collections.abc import Callable, Iterable

import pyarrow as pa

from pipeline.errors import SampleError
from pipeline.faults.judge import fail
from pipeline.records import Record, to_table
from pipeline.sources.inputs import Sample

Blamed = tuple[Sample, SampleError]  # a sample that killed proven workers, and the fault that it fails with


def blame(deaths: int, hung: bool) -> SampleError:
    """Return the fault of a sample that killed tested workers.

    Args:
        deaths: number of workers that it killed.
        hung: the last of them was ended since it took too long.
    """
    if hung:
        return SampleError(
            "inpaint", "TimedOut", f"the model exceeded limits.sample_s with this sample, {deaths} times"
        )
    message = f"{deaths} workers that had just proven to work died while they had only this sample"
    return SampleError("inpaint", "WorkerDied", message)


def failed_rows(blamed: Iterable[Blamed], new_record: Callable[[Sample], Record]) -> pa.Table:
    """Return the rows of blamed samples.

    Args:
        blamed: the samples and their faults.
        new_record: creates the row of a sample, to which the fault is added.
    """
    return to_table([fail(new_record(sample), error.stage, error) for sample, error in blamed])
