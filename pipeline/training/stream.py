"""A source of crops that reads photos while it trains; see :class:`moebius.train.data.source.CropSource`."""

import logging
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

import numpy as np
import torch

from moebius.hardware import usable_cores
from moebius.train.data.source import Crops, EncodedCrops
from moebius.train.photos import PhotosError
from pipeline.training.chunks import DecodedChunk, Sample, reader_of
from pipeline.training.crops import CropSample, EncodedSample
from pipeline.training.order import Position, SampleOrder

MAX_THREADS = 4
TOLD = 10  # samples left out that are named one by one

logger = logging.getLogger(__name__)

# where to begin -> the decoded chunks from there on, in order and without end
DecodedChunks = Callable[[Position], Iterator[DecodedChunk]]


class StreamedSource:
    """Crops of a stream, in the order of a :class:`SampleOrder`; damaged photos are counted, named and left out.

    Args:
        order: the order of this process.
        decoded: where decoded chunks come from; ``None``: threads of this process.
    """

    def __init__(self, order: SampleOrder, decoded: DecodedChunks | None = None) -> None:
        self.order, self.size_px = order, order.settings.size_px
        self.decoded = decoded or LocalChunks(order)
        self.position, self.left_out = Position(), Counter[str]()
        self._samples: Iterator[CropSample | EncodedSample] | None = None

    def batch(self, batch_index: int, count: int) -> Crops | EncodedCrops:
        """See :class:`moebius.train.data.source.CropSource`."""
        return as_crops([sample for sample in self.take(count) if isinstance(sample, CropSample)])

    def take(self, count: int) -> list[CropSample | EncodedSample]:
        """Return the next samples."""
        if self._samples is None:
            self._samples = self._good_samples(self.position)
        return list(islice(self._samples, count))

    def examples(self, count: int) -> Crops:
        """See :class:`moebius.train.data.source.CropSource`; they are the first ones of the first process."""
        first = StreamedSource(SampleOrder(self.order.settings, files=self.order.files))
        return as_crops([sample for sample in first.take(count) if isinstance(sample, CropSample)])

    def state(self) -> dict[str, int]:
        """See :class:`moebius.train.data.source.CropSource`."""
        return self.position.state() | {"files": len(self.order.files)}

    def resume(self, state: Mapping[str, int]) -> None:
        """See :class:`moebius.train.data.source.CropSource`."""
        files, position = state.get("files"), {key: value for key, value in state.items() if key != "files"}
        self.position, self._samples = Position(**position), None
        if files is not None and files != len(self.order.files):
            logger.warning(
                "the source had %d files at the checkpoint and has %d now: epoch %d begins anew",
                *(files, len(self.order.files), self.position.epoch),
            )
            self.position = Position(self.position.epoch)

    def _good_samples(self, start: Position) -> Iterator[CropSample | EncodedSample]:
        """Yield samples from a position on, and note the position behind each.

        Raises:
            PhotosError: a whole epoch without a photo that can be trained on.
        """
        epoch, good, bad = start.epoch, 0, 0
        is_whole = start == Position(epoch)  # else nothing may be left of it, or only damaged photos
        for position, sample in in_order(self.decoded(start)):
            if position.epoch != epoch:
                if is_whole and not good:
                    raise PhotosError(f"none of {bad} photos of the source can be trained on: {_told(self.left_out)}")
                self._tell_epoch(epoch, good, bad)
                epoch, good, bad, is_whole = position.epoch, 0, 0, True
            self.position = position
            if isinstance(sample, str):
                bad += 1
                self._leave_out(sample)
            else:
                good += 1
                yield sample

    def _leave_out(self, fault: str) -> None:
        self.left_out[fault.partition(": ")[0]] += 1
        if self.left_out.total() <= TOLD:
            logger.warning("left out: %s", fault)
        if self.left_out.total() == TOLD:
            logger.warning("further photos that are left out are only counted, at the end of each epoch")

    def _tell_epoch(self, epoch: int, good: int, bad: int) -> None:
        if bad:
            told = _told(self.left_out)
            logger.warning("epoch %d: %d photos are left out, %d were used; in all: %s", epoch, bad, good, told)


class LocalChunks:
    """Decoded chunks from a few threads of this process, a few chunks ahead.

    Args:
        order: the order of this process.
    """

    def __init__(self, order: SampleOrder) -> None:
        self.order, self.reader = order, reader_of(order.settings)
        self.threads = min(MAX_THREADS, usable_cores())

    def __call__(self, start: Position) -> Iterator[DecodedChunk]:
        """Yield chunks from a position on."""
        under_way: deque[Future[DecodedChunk]] = deque()
        pool = ThreadPoolExecutor(self.threads)
        try:
            for chunk in self.order.chunks(start):
                under_way.append(pool.submit(self.reader.decode, chunk))
                if len(under_way) > self.threads:
                    yield under_way.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def in_order(chunks: Iterable[DecodedChunk]) -> Iterator[tuple[Position, Sample]]:
    """Yield the samples of each block in their order, with the position behind each."""
    block: list[tuple[int, Sample]] = []
    for chunk in chunks:
        block += zip(chunk.offsets, chunk.samples, strict=True)
        if len(block) == chunk.block_count:
            for offset, sample in sorted(block, key=lambda pair: pair[0]):
                yield Position(chunk.epoch, chunk.group, offset + 1), sample
            block = []


def as_crops(samples: list[CropSample]) -> Crops:
    """Return samples as a batch of tensors."""
    images = torch.from_numpy(np.stack([sample.image for sample in samples]))
    holes = torch.from_numpy(np.stack([sample.hole for sample in samples]))
    return Crops(
        images.permute(0, 3, 1, 2).float() / 127.5 - 1,
        holes[:, None].float(),
        torch.tensor([sample.seed for sample in samples]),
        torch.tensor([sample.is_object for sample in samples]),
    )


def _told(counts: Counter[str]) -> str:
    return ", ".join(f"{kind} {count}" for kind, count in counts.most_common())
