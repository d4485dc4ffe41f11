"""Reads samples from tar shards; adjacent samples share a request."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack

import pyarrow as pa

from pipeline.errors import SampleError
from pipeline.sources.cursors import Cursors
from pipeline.sources.inputs import Inputs, MaskPart, Sample, file_version, read_file
from pipeline.sources.tar.headers import BROKEN
from pipeline.sources.tar.streams import is_compressed, open_shard
from pipeline.sources.wanted import Wanted
from pipeline.storage.errors import answering
from pipeline.storage.storage import Storage

REQUEST_BYTES = 16 << 20  # read at once at most
GAP_BYTES = 1 << 20  # smaller gaps between samples are read rather than split into two requests


class ShardCursor:
    """Reads the decompressed bytes of a compressed shard sequentially."""

    def __init__(self, storage: Storage, key: str) -> None:
        self._stack, self.position = ExitStack(), 0
        self._file = self._stack.enter_context(open_shard(storage, key))

    def read(self, start: int, end: int) -> bytes:
        """Read the bytes from ``start`` to ``end``, neither before the current position.

        Raises:
            one of ``BROKEN``: the shard is truncated.
        """
        self._file.seek(start)
        data = self._file.read(end - start)
        self.position = end
        if len(data) < end - start:
            raise EOFError(f"the shard ends after {start + len(data)} bytes")
        return data

    def close(self) -> None:
        """Close the file."""
        self._stack.close()


class TarReader:
    """See :class:`pipeline.sources.inputs.FormatReader`; reads by the locators of ``TarShards``."""

    def __init__(self, wanted: Wanted, storage: Storage) -> None:
        self.storage, self.carried = storage, wanted.carried
        self._cursors = Cursors(storage, lambda key: ShardCursor(storage, key))

    def read_all(self, samples: Sequence[Sample]) -> Iterator[Inputs | Exception]:
        """See :class:`pipeline.sources.inputs.FormatReader`."""
        for inputs in self.storage.in_parallel(self._read, stretches(samples)):
            yield from inputs

    def _read(self, stretch: Sequence[Sample]) -> list[Inputs | Exception]:
        try:
            blocks = [(start, self._bytes(stretch[0], start, end)) for start, end in _blocks(stretch)]
        except Exception as error:  # noqa: BLE001 - raised where each sample is dealt with
            return [error] * len(stretch)
        return [self._inputs(sample["locator"], blocks) for sample in stretch]

    def _bytes(self, sample: Sample, start: int, end: int) -> bytes:
        key = sample["file"]
        if not is_compressed(key):
            return read_file("read", self.storage, key, file_version(sample), (start, end))
        with answering():
            try:
                with self._cursors.at(key, file_version(sample), start) as cursor:
                    return cursor.read(start, end)
            except BROKEN as error:
                raise SampleError("read", "BrokenShard", f"{key} can no longer be read: {error}") from error

    def _inputs(self, locator: Sequence[int], blocks: Sequence[tuple[int, bytes]]) -> Inputs:
        parts = [_part(blocks, at, size) for at, size in zip(locator[::2], locator[1::2], strict=True)]
        image, mask, *others = parts
        carried, further = others[: len(self.carried)], others[len(self.carried) :]
        masks: bytes | tuple[MaskPart, ...] = mask
        if further:
            several = [mask, *further]
            masks = tuple(MaskPart(f"mask {at} of {len(several)}", data) for at, data in enumerate(several, start=1))
        values = [pa.array([part or None], pa.binary()) for part in carried]
        return Inputs(image, masks, pa.record_batch(values, names=self.carried))


def stretches(samples: Sequence[Sample]) -> Iterator[list[Sample]]:
    """Group adjacent samples of a shard that one request of bounded size can read."""
    stretch: list[Sample] = []
    for sample in samples:
        if stretch and not _goes_on(stretch, sample):
            yield stretch
            stretch = []
        stretch.append(sample)
    if stretch:
        yield stretch


def _goes_on(stretch: Sequence[Sample], sample: Sample) -> bool:
    if sample["file"] != stretch[0]["file"]:
        return False
    (first, before), (start, end) = _extent(stretch), _extent([sample])
    return before <= start <= before + GAP_BYTES and end - first <= REQUEST_BYTES


def _extent(samples: Sequence[Sample]) -> tuple[int, int]:
    spans = _spans(samples)
    return min(start for start, _ in spans), max(end for _, end in spans)


def _spans(samples: Sequence[Sample]) -> list[tuple[int, int]]:
    return [
        (start, start + size)
        for sample in samples
        for start, size in zip(sample["locator"][::2], sample["locator"][1::2], strict=True)
    ]


def _blocks(samples: Sequence[Sample]) -> list[tuple[int, int]]:
    """Return the ranges to read, in order, without large unrelated members between those of a sample."""
    blocks: list[tuple[int, int]] = []
    for start, end in sorted(_spans(samples)):
        if blocks and start <= blocks[-1][1] + GAP_BYTES:
            blocks[-1] = blocks[-1][0], max(end, blocks[-1][1])
        else:
            blocks.append((start, end))
    return blocks


def _part(blocks: Sequence[tuple[int, bytes]], at: int, size: int) -> bytes:
    start, data = next(block for block in reversed(blocks) if block[0] <= at)
    return data[at - start : at - start + size]
