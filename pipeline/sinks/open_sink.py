"""Opens the sink that a configuration asks for."""

from pipeline.config.job import JobConfig
from pipeline.faults.sink_holder import Epoch
from pipeline.faults.write_retries import Hold
from pipeline.sinks.base import Sink
from pipeline.sinks.image_sink import ImageSink, result_suffix
from pipeline.sinks.shard_sink import ShardSink
from pipeline.storage.storage import Storage


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
    checks = [] if run_id is None else [Epoch(storage, run_id, config.run.own_slice).check]
    return ImageSink(storage, suffix, hold, *checks)
