"""The driver reads samples itself when no known-good sample exists to test workers with."""

import time
from collections.abc import Iterator, Sequence

import pyarrow as pa

from pipeline.cluster.supervision.quarantine import Blamed, failed_rows
from pipeline.config.job import JobConfig
from pipeline.errors import AccessError
from pipeline.faults.judge import confirm, fail
from pipeline.records import SAMPLE_SCHEMA, Record, to_table
from pipeline.sources.inputs import Sample
from pipeline.sources.reader import Reader
from pipeline.storage.storage import Storage
from pipeline.worker.sample import new_record

SAMPLES_AT_ONCE = 64
LOOK_S = 60.0


class Witness:
    """A witness that checks nothing: it takes every sample as readable and fails none; see :class:`DriverWitness`."""

    def readable(self, samples: Sequence[Sample]) -> tuple[Sample, ...]:
        """Return the samples that can be read."""
        return tuple(samples)

    def find_inaccessible(self, samples: pa.Table) -> pa.Table:
        """Return failed rows of samples that are missing, replaced or not permitted although the storage answers."""
        return to_table([])


class DriverWitness(Witness):
    """Checks which samples this process can read.

    Args:
        config: the job.
        weights_fingerprint: of its weights.
        run_id: name of the run.
    """

    def __init__(self, config: JobConfig, weights_fingerprint: str, run_id: str) -> None:
        self._config, self._facts, self._reader = config, (weights_fingerprint, run_id), Reader(config)

    def readable(self, samples: Sequence[Sample]) -> tuple[Sample, ...]:
        """See :class:`Witness`."""
        found = zip(samples, self._reader.read_all(samples), strict=True)
        return tuple(sample for sample, inputs in found if not isinstance(inputs, Exception))

    def find_inaccessible(self, samples: pa.Table) -> pa.Table:
        """See :class:`Witness`; stops after about ``LOOK_S``, or when it finds none.

        An empty folder may be one that is not mounted, so it proves nothing.
        """
        has_mask_folder = self._reader.has_mask_files and not self._reader.place.path_column
        storages = [self._reader.source, *([self._reader.masks] if has_mask_folder else [])]
        records: list[Record] = []
        if all(map(_holds_files, storages)):
            deadline = time.monotonic() + LOOK_S
            for start in range(0, len(samples), SAMPLES_AT_ONCE):
                some = samples.slice(start, SAMPLES_AT_ONCE).select(SAMPLE_SCHEMA.names).to_pylist()
                found = list(self._inaccessible(some))
                records += found
                if not found or time.monotonic() > deadline:
                    break
        return to_table(records)

    def quarantine(self, blamed: Sequence[Blamed]) -> pa.Table:
        """Return failed rows of samples that killed every worker."""
        return failed_rows(blamed, self._new_record)

    def _new_record(self, sample: Sample) -> Record:
        return new_record(sample, self._config, self._reader, *self._facts)

    def _inaccessible(self, samples: Sequence[Sample]) -> Iterator[Record]:
        for sample, found in zip(samples, self._reader.read_all(samples), strict=True):
            if isinstance(found, AccessError):
                record = self._new_record(sample)
                confirm(fail(record, found.stage, found))
                yield record


def _holds_files(storage: Storage) -> bool:
    try:
        return storage.is_file() or next(iter(storage.list_files()), None) is not None
    except OSError:
        return False
