"""The steps of one sample: decode and cut windows before the model, composite and encode after it."""

import hashlib
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import reduce

import numpy as np
from PIL import Image

from moebius.windows import CELL_PX, Box, Window, cut_window, paste_window, plan_windows
from pipeline.codecs.decode import bits_per_channel, decode
from pipeline.codecs.encode import check_encodable, encode
from pipeline.codecs.photo import Photo
from pipeline.config.job import JobConfig
from pipeline.errors import SampleError
from pipeline.masks.base import open_kind
from pipeline.masks.decode import draw_mask
from pipeline.records import FAILED, OK, UNCHANGED, Record
from pipeline.sources.inputs import Inputs, Sample
from pipeline.sources.reader import Reader
from pipeline.worker.seam import EDGE, look_at_border

ROWS_AT_ONCE = 256
BYTES_PER_PIXEL = 14  # as decoded, as seen, repainted and encoded, with the mask and its parts


@dataclass
class SampleJob:
    """A decoded sample and its windows.

    Args:
        record: its manifest row so far.
        source: the compressed input, which an empty mask passes through.
        photo, mask: what was decoded.
        seen: (H, W, 3) uint8, the photo as RGB for the model.
        box: surrounds the mask, on the grid of cells; ``None`` for an empty mask.
        patch: copy of ``seen`` inside the box; fills are written into it.
        windows: still to be filled; empty for a sample without a hole.
        strength: at which they are sampled; ``None``: as configured.
    """

    record: Record
    source: bytes
    photo: Photo
    mask: np.ndarray
    seen: np.ndarray
    windows: list[Window]
    strength: float | None = None
    box: Box | None = None
    patch: np.ndarray = field(default_factory=lambda: np.empty((0, 0, 3), np.uint8))

    def __post_init__(self) -> None:
        hole = Box.around(self.mask)
        if hole:
            self.box = hole.grown(EDGE, self.mask.shape).on_grid(CELL_PX)
            self.patch = self.seen[self.box.slices].copy()

    def cut(self, number: int, size_px: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the model's input for one window; it does not depend on other windows."""
        return cut_window(self.seen, self.mask, self.windows[number], size_px)

    def paste(self, number: int, filled: np.ndarray) -> None:
        """Write one fill into the patch."""
        assert self.box is not None  # there is a window
        paste_window(self.patch, self.mask[self.box.slices], self.windows[number].seen_from(self.box), filled)

    def composite(self) -> np.ndarray:
        """Return the photo's pixels with all fills, and record ``outside_max_diff``.

        Raises:
            SampleError: a pixel outside the mask has changed.
        """
        self.record.outside_max_diff = 0
        if self.box is None:
            return self.photo.pixels
        inside, mask = self.box.slices, self.mask[self.box.slices]
        before = self.photo.pixels[inside].copy()
        pixels = self.photo.repaint(self.patch, mask, self.box)  # writes nowhere else
        self.record.outside_max_diff = largest = outside_max_diff(before, pixels[inside], mask)
        if largest:
            raise SampleError("inpaint", "OutsideChanged", f"a pixel outside the mask changed by {largest}")
        return pixels


def new_record(sample: Sample, config: JobConfig, reader: Reader, weights_fingerprint: str, run_id: str) -> Record:
    """Build the part of a manifest row that is known before the sample is opened; its status is failed."""
    return Record(
        sample_id=sample["sample_id"],
        status=FAILED,
        input_uri=reader.image_uri(sample),
        input_version=sample["input_version"],
        mask_kind=config.mask.kind,
        mask_uri=reader.mask_uri(sample),
        config_fingerprint=config.fingerprint,
        seed=sample_seed(config.model.seed, sample["sample_id"]),
        weights_fingerprint=weights_fingerprint,
        run_id=run_id,
        started_at=datetime.now(UTC),
    )


def sample_seed(seed: int, sample_id: str) -> int:
    """Return a seed from the job's seed and the sample's id, independent of batching, retries and resume."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{sample_id}".encode()).digest()[:8], "big") >> 1


def decoded_bytes(header: Image.Image, image: bytes) -> int:
    """Estimate the memory of a sample from decoding to encoding, from its opened header."""
    is_high_bit_depth = bits_per_channel(header, image) > 8
    return header.width * header.height * (2 if is_high_bit_depth else 1) * BYTES_PER_PIXEL


def prepare(
    record: Record, inputs: Inputs, config: JobConfig, window_px: int, header: Image.Image | None = None
) -> SampleJob:
    """Decode a sample and plan its windows.

    Args:
        record: its row so far.
        inputs: what was read.
        config: the job.
        window_px: side of the squares that the model sees.
        header: the image as opened by :func:`pipeline.codecs.header.open_checked`, if it was.

    Raises:
        SampleError: the image or the mask cannot be used.
    """
    started = time.perf_counter()
    photo = decode(inputs.image, config.limits.max_pixels, header)
    record.height, record.width = photo.pixels.shape[:2]
    record.orientation = photo.orientation if photo.orientation > 1 else None
    drawn = draw_mask(inputs.mask, photo, config.mask, config.limits.max_pixels)
    repaint, record.mask_objects, record.mask_score = drawn.pixels, drawn.objects, drawn.score
    photo = open_kind(config.mask).revealed(photo, repaint)
    record.mask_fraction = np.count_nonzero(repaint) / repaint.size
    windows = plan_windows(repaint, window_px, config.window.context, config.window.max_upscale)
    record.window_count = len(windows)
    if windows or config.sink.image_format != "source":  # else the input is passed through
        check_encodable(photo, config.sink.image_format)
    seen = photo.rgb() if windows else np.empty((0, 0, 3), np.uint8)
    job = SampleJob(record, inputs.image, photo, repaint, seen, windows)
    record.decode_s = time.perf_counter() - started
    return job


def finish(job: SampleJob, config: JobConfig) -> bytes:
    """Composite, check and encode a sample whose windows are filled; complete its row except for the uri.

    Raises:
        SampleError: the result cannot be encoded, a pixel outside the mask has changed, or the fill is suspicious
            and ``limits.suspicious`` says fail.
    """
    started = time.perf_counter()
    record, image_format = job.record, config.sink.image_format
    if not job.windows and image_format in ("source", job.photo.format.lower()):
        data, container = job.source, job.photo.format
        record.outside_max_diff = 0
    else:
        pixels = job.composite()
        if job.box:
            border = look_at_border(job.patch, job.mask[job.box.slices])
            record.seam_score, record.suspicious = border.seam_score, border.suspicious
            if border.suspicious and config.limits.suspicious == "fail":
                message = f"the fill is {border.suspicious} along its border, limits.suspicious=fail"
                raise SampleError("inpaint", "SuspiciousFill", message)
        data, container = encode(job.photo, pixels, image_format)
    record.status = OK if job.windows else UNCHANGED
    record.output_format = container.lower()
    record.output_bytes = len(data)
    record.output_sha256 = hashlib.sha256(data).hexdigest()
    record.encode_s = time.perf_counter() - started
    return data


def outside_max_diff(before: np.ndarray, after: np.ndarray, mask: np.ndarray) -> int:
    """Return the largest change of any value outside the mask; arrays (H, W[, bands]), mask (H, W) bool."""
    largest, width = 0, mask.shape[1]
    for top in range(0, len(mask), ROWS_AT_ONCE):
        band = slice(top, top + ROWS_AT_ONCE)
        differing = _words(before[band]) != _words(after[band])
        box = Box.around(differing)  # a small part of the photo, and of most bands nothing
        if box is None:
            continue
        first, end = box.left * width // differing.shape[1], -(-box.right * width // differing.shape[1])
        part = slice(top + box.top, top + box.bottom), slice(first, end)
        old, new = before[part], after[part]
        changed = old != new
        if changed.ndim == 3:
            changed = reduce(np.logical_or, np.moveaxis(changed, 2, 0))  # any(axis=2) is ten times slower
        outside = changed & ~mask[part]
        if outside.any():
            difference = old[outside].astype(np.int32) - new[outside]
            largest = max(largest, int(np.abs(difference).max()))
    return largest


def _words(rows: np.ndarray) -> np.ndarray:
    """View rows as 64-bit words if their length allows it, for an eighth of the comparisons."""
    flat = np.ascontiguousarray(rows).reshape(len(rows), -1)
    return flat.view(np.uint64) if flat.shape[1] * flat.itemsize % 8 == 0 else flat
