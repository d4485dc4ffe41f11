"""Order of the samples of a source in training: a function of the seed, the epoch and the process.

Only names of files are listed. Each epoch deals the shuffled files to the processes. A process opens a group of its
files, shuffles short runs of adjacent samples of all of them, since adjacent samples are read with one request, and
then shuffles the samples of each block. So a position (epoch, group, offset) is found again by opening one group.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import count
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.database import in_batches
from pipeline.errors import ConfigError
from pipeline.sources.base import SAMPLE_REF_SCHEMA, SampleRef
from pipeline.sources.left_out import LeftOut
from pipeline.sources.reader import open_source
from pipeline.storage.errors import usable
from pipeline.storage.storage import Storage, StoredFile
from pipeline.training.job import StreamSettings

GROUP_SHARDS = 4  # that are opened together
GROUP_FILES = 4096  # of images
RUN = 16  # adjacent samples of a shard that are read together
CHUNK = 16  # samples that one task decodes

FILES = pa.schema(list(SAMPLE_REF_SCHEMA)[: len(StoredFile._fields)])


@dataclass(frozen=True)
class Position:
    """Position of a process in its source.

    Args:
        epoch: passes over all files that are over.
        group: number of the group in the epoch.
        offset: samples of the group that are over.
    """

    epoch: int = 0
    group: int = 0
    offset: int = 0

    def state(self) -> dict[str, int]:
        """Return the position as plain numbers."""
        return asdict(self)


class Place(NamedTuple):
    """One sample and where it comes in the order."""

    offset: int
    ref: SampleRef


@dataclass(frozen=True)
class Chunk:
    """Samples to decode together.

    Args:
        epoch, group, block: where they belong.
        block_count: samples of the block in all its chunks.
        places: in the order in which they are read.
    """

    epoch: int
    group: int
    block: int
    block_count: int
    places: list[Place]


class SampleOrder:
    """The order of the samples of one process.

    Args:
        settings: the stream.
        rank: this process.
        world: number of processes.
        files: of another order of the same source; ``None``: list them.

    Raises:
        ConfigError: nothing at the source, or fewer shards than processes.
    """

    def __init__(self, settings: StreamSettings, rank: int = 0, world: int = 1, files: pa.Table | None = None) -> None:
        self.settings, self.rank, self.world = settings, rank, world
        self.job = settings.job
        self.is_sharded = self.job.source.rules.is_sharded
        self.storage = Storage(self.job.source.root_uri, self.job.storage)
        self.finder = open_source(self.job, self.storage)
        self.files = self._list() if files is None else files
        if len(self.files) < world:
            raise ConfigError(
                f"source.uri holds {len(self.files)} files, fewer than processes={world}: each process reads files of "
                "its own, so split them, or set fewer processes"
            )

    @usable()
    def _list(self) -> pa.Table:
        """List the files of the source by name, in Arrow, of which millions fit into memory."""
        left_out = LeftOut()
        batches = list(in_batches(self.finder.files(left_out), FILES))
        if not batches:
            pattern = self.job.source.pattern
            raise ConfigError(f"no image below {self.storage} matches source.pattern={pattern!r}{left_out.there()}")
        return pa.Table.from_batches(batches).sort_by("sample_id")

    def chunks(self, start: Position) -> Iterator[Chunk]:
        """Yield chunks from a position on, epoch after epoch, without end."""
        for epoch in count(start.epoch):
            is_empty = start == Position(epoch)
            for chunk in self.epoch_chunks(start):
                yield chunk
                is_empty = False
            if is_empty:
                raise ConfigError(f"{self.storage} holds no sample for process {self.rank} of {self.world}")
            start = Position(epoch + 1)

    def epoch_chunks(self, start: Position) -> Iterator[Chunk]:
        """Yield chunks from a position to the end of its epoch."""
        numbers = np.random.default_rng([self.settings.seed, start.epoch]).permutation(len(self.files))
        own = numbers[self.rank :: self.world]
        size = GROUP_SHARDS if self.is_sharded else GROUP_FILES
        for group, first in enumerate(range(0, len(own), size)):
            if group >= start.group:
                offset = start.offset if group == start.group else 0
                yield from self._group_chunks(start.epoch, group, own[first : first + size], offset)

    def _group_chunks(self, epoch: int, group: int, numbers: np.ndarray, offset: int) -> Iterator[Chunk]:
        samples = self._shuffled_runs(self._open(numbers), np.random.default_rng([self.settings.seed, epoch, group]))
        size = self.settings.shuffle
        for block in range(offset // size, -(-len(samples) // size)):
            first = block * size
            inside = samples[first : first + size]
            order = np.random.default_rng([self.settings.seed, epoch, group, block]).permutation(len(inside))
            places = [Place(first + at, inside[index]) for at, index in enumerate(order) if first + at >= offset]
            places.sort(key=lambda place: _reading_order(place.ref))
            for at in range(0, len(places), CHUNK):
                yield Chunk(epoch, group, block, len(places), places[at : at + CHUNK])

    @usable()
    def _open(self, numbers: np.ndarray) -> list[SampleRef]:
        files = [StoredFile(*row.values()) for row in self.files.take(pa.array(numbers)).to_pylist()]
        return list(self.finder.samples(files))

    def _shuffled_runs(self, refs: Sequence[SampleRef], rng: np.random.Generator) -> list[SampleRef]:
        """Shuffle runs of adjacent samples; each image file is a run by itself."""
        length = RUN if self.is_sharded else 1
        starts = length * rng.permutation(-(-len(refs) // length))
        return [ref for start in starts for ref in refs[start : start + length]]


def _reading_order(ref: SampleRef) -> tuple[str, list[int], str]:
    return ref.file or ref.sample_id, ref.locator or [], ref.sample_id
