"""Stores results in shards of many samples."""

import time
from collections.abc import Iterable
from functools import partial

import pyarrow as pa

from pipeline.config.sink import SinkConfig
from pipeline.errors import SampleError
from pipeline.faults.judge import fail
from pipeline.faults.write_retries import Hold
from pipeline.sinks.base import FOLDER, Outcome
from pipeline.sinks.format import Shard
from pipeline.sinks.registry import SINK_FORMATS
from pipeline.sinks.shards import ShardWriter
from pipeline.sources.inputs import NOTHING_CARRIED
from pipeline.storage.errors import attempt
from pipeline.storage.storage import Storage


class ShardSink:
    """Stores results in shards of bounded size, each written atomically when it is full or its unit ends."""

    def __init__(self, config: SinkConfig, storage: Storage, hold: Hold | None = None) -> None:
        self.storage, self.hold = storage, hold or Hold()
        self.bounds = config.shard_samples, config.shard_bytes
        self.format: type[Shard] = SINK_FORMATS.load(config.format)

    def store(self, outcomes: Iterable[Outcome]) -> float:
        """See :class:`pipeline.sinks.base.Sink`."""
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
