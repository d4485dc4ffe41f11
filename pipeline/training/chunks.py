"""Reads and decodes the samples of a chunk, in a task of Ray Data or in a thread."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from pipeline.errors import MACHINE_ERRORS, SampleError
from pipeline.masks.base import open_kind
from pipeline.sources.base import SampleRef
from pipeline.sources.inputs import Inputs
from pipeline.sources.reader import Reader
from pipeline.training.crops import CropSample, EncodedSample, draw_crop, unpacked
from pipeline.training.job import StreamSettings
from pipeline.training.order import CHUNK, Chunk, Place

Sample = CropSample | EncodedSample | str
_READERS: dict[str, "ChunkReader"] = {}  # of this process


@dataclass
class DecodedChunk:
    """Samples of a chunk.

    Args:
        epoch, group, block, block_count: as of :class:`Chunk`.
        offsets: where each sample comes in its group.
        samples: crops or latents, or why there is none, as ``Type: sentence``.
    """

    epoch: int
    group: int
    block: int
    block_count: int
    offsets: list[int] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)


class ChunkReader:
    """Reads and decodes samples; thread-safe.

    Args:
        settings: the stream.
    """

    def __init__(self, settings: StreamSettings) -> None:
        self.settings, self.job = settings, settings.job
        self.place = self.job.mask.rules.place

    @cached_property
    def _reader(self) -> Reader:
        return Reader(self.job)

    @cached_property
    def _masks(self) -> Any:
        return open_kind(self.job.mask)

    def decode(self, chunk: Chunk) -> DecodedChunk:
        """Decode the samples of a chunk.

        Raises:
            OSError: the storage does not answer.
        """
        decoded = DecodedChunk(chunk.epoch, chunk.group, chunk.block, chunk.block_count)
        for place, sample in zip(chunk.places, self._samples(chunk), strict=True):
            decoded.offsets.append(place.offset)
            decoded.samples.append(sample)
        return decoded

    def _samples(self, chunk: Chunk) -> Iterator[Sample]:
        wanted = [self._wanted(place.ref) for place in chunk.places]
        for sample, inputs in zip(wanted, self._reader.read_all(wanted), strict=True):
            try:
                if isinstance(inputs, Exception):
                    raise inputs
                yield self._sample(inputs, sample["sample_id"], chunk.epoch)
            except (OSError, *MACHINE_ERRORS):
                raise
            except Exception as error:  # noqa: BLE001 - photos may be anything
                fault = SampleError.wrap("decode", error)
                yield f"{fault.kind}: {sample['sample_id']}: {fault.message}"

    def _sample(self, inputs: Inputs, sample_id: str, epoch: int) -> CropSample | EncodedSample:
        if self.settings.latent_shape:
            return unpacked(inputs.image, sample_id, epoch, self.settings)
        return draw_crop(inputs, sample_id, epoch, self.settings)

    def _wanted(self, ref: SampleRef) -> dict[str, Any]:
        """Return a sample as the pipeline's readers take it."""
        name = self._masks.name_of(ref.sample_id) if self._masks.name_of else ""
        return {
            "sample_id": ref.sample_id,
            "input_version": ref.version,
            "size_bytes": ref.size_bytes,
            "file": ref.file,
            "locator": ref.locator,
            "mask_key": None if self.place.is_beside_image and not ref.has_mask else name,
            "mask_bytes": None,
            "mask_spec": None,
            "mask_review": None,
            "fault": ref.fault,
            "carried": None,
        }


def reader_of(settings: StreamSettings) -> ChunkReader:
    """Return the reader of a stream in this process, which keeps its connections."""
    key = hashlib.sha256(json.dumps(asdict(settings), sort_keys=True, default=str).encode()).hexdigest()
    return _READERS.setdefault(key, ChunkReader(settings))


def as_text(chunk: Chunk) -> str:
    """Format a chunk as JSON."""
    return json.dumps([chunk.epoch, chunk.group, chunk.block, chunk.block_count, chunk.places])


def from_text(text: str) -> Chunk:
    """Parse what :func:`as_text` has formatted."""
    epoch, group, block, block_count, places = json.loads(text)
    return Chunk(epoch, group, block, block_count, [Place(offset, SampleRef(*ref)) for offset, ref in places])


def as_row(decoded: DecodedChunk, size_px: int) -> dict[str, np.ndarray]:
    """Return a decoded chunk as one row of arrays whose shapes are always the same; holes are bits."""
    images = np.zeros((1, CHUNK, size_px, size_px, 3), np.uint8)
    holes = np.zeros((1, CHUNK, size_px, size_px // 8), np.uint8)
    numbers = np.zeros((1, CHUNK, 3), np.int64)  # offset, seed, whether the hole is an object's
    faults = []
    for index, (offset, sample) in enumerate(zip(decoded.offsets, decoded.samples, strict=True)):
        is_crop = isinstance(sample, CropSample)
        faults.append("" if is_crop else str(sample))
        numbers[0, index, 0] = offset
        if isinstance(sample, CropSample):
            images[0, index], holes[0, index] = sample.image, np.packbits(sample.hole, axis=-1)
            numbers[0, index, 1:] = sample.seed, sample.is_object
    head = np.array([[decoded.epoch, decoded.group, decoded.block, decoded.block_count]])
    return {
        "head": head,
        "images": images,
        "holes": holes,
        "numbers": numbers,
        "faults": np.array([json.dumps(faults)]),
    }


def from_row(row: dict[str, np.ndarray]) -> DecodedChunk:
    """Return the chunk of a row that :func:`as_row` has made, without its first axis."""
    epoch, group, block, block_count = (int(number) for number in row["head"])
    decoded = DecodedChunk(epoch, group, block, block_count)
    for index, fault in enumerate(json.loads(str(row["faults"]))):
        offset, seed, is_object = (int(number) for number in row["numbers"][index])
        hole = np.unpackbits(row["holes"][index], axis=-1).astype(bool)
        decoded.offsets.append(offset)
        decoded.samples.append(fault or CropSample(row["images"][index], hole, bool(is_object), seed))
    return decoded
