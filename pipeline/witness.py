"""The driver as a second witness, where no sample has come through that a worker could prove itself by."""

from collections.abc import Callable, Sequence

import pyarrow as pa

from pipeline.config import JobConfig
from pipeline.errors import AccessError
from pipeline.faults import confirm, fail
from pipeline.inputs import Sample
from pipeline.reader import Reader
from pipeline.records import Record, to_table
from pipeline.sample_job import new_record
from pipeline.storage import Storage

SAMPLES_AT_ONCE = 64
Witness = Callable[[Sequence[Sample]], pa.Table]  # samples → failed rows of some of them


def find_inaccessible(config: JobConfig, weights_fingerprint: str, run_id: str, samples: Sequence[Sample]) -> pa.Table:
    """Failed rows of samples that are missing, replaced or closed to this process, too, while their storages answer.

    A folder that holds nothing at all may be one that is not mounted, so it tells nothing.
    """
    reader = Reader(config)
    places = [reader.source, *([reader.masks] if reader.has_mask_files else [])]
    if not all(map(_holds_files, places)):
        return to_table([])
    samples, records = samples[:SAMPLES_AT_ONCE], list[Record]()
    for sample, found in zip(samples, reader.read_all(samples), strict=True):
        if isinstance(found, AccessError):
            record = new_record(sample, config, reader, weights_fingerprint, run_id)
            confirm(fail(record, found.stage, found))
            records.append(record)
    return to_table(records)


def _holds_files(storage: Storage) -> bool:
    try:
        return storage.is_file() or next(iter(storage.list_files()), None) is not None
    except OSError:
        return False
