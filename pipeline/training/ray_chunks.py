"""Decoded chunks from tasks of Ray Data, on all nodes of the cluster."""

from collections.abc import Iterator
from functools import partial
from itertools import islice
from typing import Any

import pyarrow as pa
import ray
import ray.data
from ray.data import TaskPoolStrategy

from pipeline.training.chunks import DecodedChunk, as_row, as_text, from_row, from_text, reader_of
from pipeline.training.job import StreamSettings
from pipeline.training.order import Chunk, Position, SampleOrder

PREFETCHED = 4  # decoded chunks that wait in this process
WINDOW = 1024  # chunks of one execution of Ray Data, which begins when the one before has ended


class RayChunks:
    """Decoded chunks of one process; see :class:`pipeline.training.stream.DecodedChunks`.

    Not by ``ray.train.get_dataset_shard``: its data sets are made before the processes know where a checkpoint ends,
    and are the same in every epoch.

    Args:
        order: the order of this process.
        tasks: that decode at once.
    """

    def __init__(self, order: SampleOrder, tasks: int) -> None:
        self.order, self.tasks = order, tasks

    def __call__(self, start: Position) -> Iterator[DecodedChunk]:
        """Yield chunks from a position on."""
        _set_up()
        chunks = self.order.chunks(start)
        while True:
            yield from self._decoded(list(islice(chunks, WINDOW)))

    def _decoded(self, chunks: list[Chunk]) -> Iterator[DecodedChunk]:
        texts = ray.data.from_arrow([pa.table({"chunk": [as_text(chunk)]}) for chunk in chunks])
        decoded = texts.map_batches(
            partial(decode_batch, settings=self.order.settings),
            batch_size=None,
            num_cpus=1,
            compute=TaskPoolStrategy(size=self.tasks),
        )
        for batch in decoded.iter_batches(batch_size=1, batch_format="numpy", prefetch_batches=PREFETCHED):
            yield from_row({name: values[0] for name, values in batch.items()})


def decoding_tasks(processes: int) -> int:
    """Return how many tasks each process may have decode: its part of the CPUs that processes leave; 0 for none."""
    return int(ray.cluster_resources().get("CPU", 0) - processes) // processes


def decode_batch(batch: dict[str, Any], settings: StreamSettings) -> dict[str, Any]:
    """Decode the chunk of a batch of one row."""
    (text,) = batch["chunk"]
    return as_row(reader_of(settings).decode(from_text(str(text))), settings.size_px)


def _set_up() -> None:
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False
    context.execution_options.preserve_order = True
