"""Sinks of results: one file per sample below ``data/``, or shards of many samples."""

import errno
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import pyarrow as pa

from pipeline.config.data import SinkConfig
from pipeline.config.job import JobConfig
from pipeline.errors import SampleError
from pipeline.faults.epoch import Epoch
from pipeline.faults.hold import Hold
from pipeline.faults.judge import fail
from pipeline.records import Record
from pipeline.sinks.format import Shard
from pipeline.sinks.registry import SINK_FORMATS
from pipeline.sinks.shards import ShardWriter
from pipeline.sources.base import result_name
from pipeline.sources.inputs import NOTHING_CARRIED
from pipeline.storage.storage import Storage, attempt
from pipeline.timed import Timed

FOLDER = "data"
_TAKEN = "another result is a file where this one needs a folder, or needs a folder where this one is a file"
_REFUSED_NAMES = {
    errno.ENAMETOOLONG: "the name of the result is too long for the disk of the sink",
    errno.ENOTDIR: _TAKEN,
    errno.EISDIR: _TAKEN,
}
EXTENSIONS = {"png": ".png", "webp": ".webp", "jpeg": ".jpg"}


@dataclass
class Outcome:
    """The outcome of one sample.

    Args:
        record: its row, to which the sink adds the result's location.
        result: the encoded image; ``None`` for a failed sample.
        carried: one row of columns that are stored with it in a shard.
    """

    record: Record
    result: bytes | None = None
    carried: pa.RecordBatch = field(default_factory=lambda: NOTHING_CARRIED)


class Sink(Protocol):
    """Stores results, and records their locations in their rows."""

    storage: Storage

    def store(self, outcomes: Iterable[Outcome]) -> float:
        """Store results as they arrive.

        Args:
            outcomes: in order; the iterator may block.

        Returns:
            Seconds spent, without the time of waiting for outcomes.
        """


def result_suffix(image_format: str, sample_is_file: bool) -> str | None:
    """Return the suffix of a result file after the sample's name; ``None`` for the extension of its format.

    Args:
        image_format: ``sink.image_format``.
        sample_is_file: a sample's name has an extension of its own.
    """
    return EXTENSIONS.get(image_format, "" if sample_is_file else None)


class ImageSink:
    """Stores results as single files. The name depends only on the sample, so that reprocessing replaces the file.

    ``image_format: source`` keeps the sample's own path, with the format's extension where it has none; another format
    appends its extension, so that ``a.jpg`` and ``a.png`` never end in the same file.

    Args:
        storage: of the sink.
        suffix: see :func:`result_suffix`.
        hold: retry policy while the storage accepts nothing.
        check: raises if this run no longer holds the sink; called before each result gets its name.
    """

    def __init__(
        self, storage: Storage, suffix: str | None, hold: Hold | None = None, check: Callable[[], None] = lambda: None
    ) -> None:
        self.storage, self.suffix, self.hold, self.check = storage, suffix, hold or Hold(), check

    def store(self, outcomes: Iterable[Outcome]) -> float:
        """See :class:`Sink`."""

        started, waited, under_way = time.perf_counter(), Timed(iter(outcomes)), deque[tuple[str, Outcome]]()

        def files() -> Iterator[tuple[str, bytes]]:
            for outcome in waited:
                if outcome.result is not None:
                    key = self._key(outcome.record)
                    under_way.append((key, outcome))
                    yield key, outcome.result

        for fault in self.storage.write_all(files(), self.check):
            key, outcome = under_way.popleft()
            fault = self.hold.retry(partial(self._write, key, outcome), fault, self.storage.is_local)
            outcome.result = None
            if fault is None:
                outcome.record.output_uri = self.storage.uri(key)
            else:
                fail(outcome.record, "write", _explained(fault, key))
        return time.perf_counter() - started - waited.spent_s

    def _write(self, key: str, outcome: Outcome) -> Exception | None:
        return next(self.storage.write_all([(key, outcome.result or b"")], self.check))

    def _key(self, record: Record) -> str:
        suffix = f".{record.output_format}" if self.suffix is None else self.suffix
        return f"{FOLDER}/{result_name(record.sample_id)}{suffix}"


def _explained(fault: Exception, key: str) -> Exception:
    """Convert a disk's refusal of a name to a fault of the sample; return any other error unchanged."""
    reason = _REFUSED_NAMES.get(fault.errno or 0) if isinstance(fault, OSError) else None
    return SampleError("write", "UnusableName", f"{reason}: {key}; rename the sample") if reason else fault


class ShardSink:
    """Stores results in shards of bounded size, each written atomically when it is full or its unit ends."""

    def __init__(self, config: SinkConfig, storage: Storage, hold: Hold | None = None) -> None:
        self.storage, self.hold = storage, hold or Hold()
        self.bounds = config.shard_samples, config.shard_bytes
        self.format: type[Shard] = SINK_FORMATS.load(config.format)

    def store(self, outcomes: Iterable[Outcome]) -> float:
        """See :class:`Sink`."""
        spent_s = 0.0
        filling: dict[pa.Schema, tuple[ShardWriter, list[Outcome]]] = {}
        for outcome in outcomes:
            if outcome.result is None:
                continue
            # A column of a shard has one type, but those of source files may differ, for example if one is all null.
            types = outcome.carried.schema if self.format.one_schema else NOTHING_CARRIED.schema
            if types not in filling:
                filling[types] = ShardWriter(self.format.suffix), []
            writer, held = filling[types]
            try:
                outcome.record.output_member = writer.add(outcome.record, outcome.result, outcome.carried)
            except SampleError as error:  # anything else is the shard's
                fail(outcome.record, "write", error)
                continue
            outcome.result = None  # it is in the shard now
            held.append(outcome)
            if writer.sample_count >= self.bounds[0] or writer.size_bytes >= self.bounds[1]:
                spent_s += self._close(*filling.pop(types))
        return spent_s + sum(self._close(writer, held) for writer, held in filling.values())

    def _close(self, writer: ShardWriter, held: list[Outcome]) -> float:
        started = time.perf_counter()
        with writer:
            if not held:
                return 0.0
            key, error = attempt(writer.finish)
            if key:
                upload = partial(self._upload, f"{FOLDER}/{key}", writer.path)
                error = self.hold.retry(upload, upload(), self.storage.is_local)
        for outcome in held:
            if error:
                fail(outcome.record, "write", error)
            else:
                outcome.record.output_uri = self.storage.uri(f"{FOLDER}/{key}")
        return time.perf_counter() - started

    def _upload(self, key: str, path: str) -> Exception | None:
        return attempt(self.storage.upload, key, path)[1]


def open_sink(config: JobConfig, run_id: str | None, hold: Hold | None = None) -> Sink:
    """Open the sink of a job.

    Args:
        config: the job.
        run_id: the run that must hold the sink when a result replaces a file; ``None`` where no run holds it.
            Shards replace nothing, since their names are hashes of their content.
        hold: retry policy while the storage accepts nothing.
    """
    storage = Storage(config.sink.uri, config.storage)
    if config.sink.is_sharded:
        return ShardSink(config.sink, storage, hold)
    suffix = result_suffix(config.sink.image_format, not config.source.rules.is_sharded)
    return ImageSink(storage, suffix, hold, *([] if run_id is None else [Epoch(storage, run_id).check]))
