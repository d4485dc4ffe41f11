"""One sample to train on: a random crop of a photo, and a hole."""

import hashlib
import math
from dataclasses import dataclass

import numpy as np
import simplejpeg
from PIL import Image

from moebius.train.data.random_masks import random_mask
from moebius.train.photos import UNKNOWN_LAYOUT
from pipeline.codecs.decode import load_pixels
from pipeline.codecs.identification.header import open_checked
from pipeline.codecs.metadata_formats.exif import SIDEWAYS, UPRIGHT
from pipeline.config.mask import MaskConfig
from pipeline.errors import SampleError
from pipeline.masks.decode import MaskData, read_mask_file
from pipeline.masks.refine import refine
from pipeline.masks.sizes import scale
from pipeline.sources.inputs import Inputs
from pipeline.training.job import StreamSettings

MAX_PIXELS = 200_000_000
ORIENTATION = 0x0112  # the tag of EXIF


@dataclass(frozen=True)
class CropSample:
    """A crop with its hole.

    Args:
        image: (S, S, 3) uint8.
        hole: (S, S) bool, true = repaint.
        is_object: the hole is that of an object.
        seed: seed of all further randomness.
    """

    image: np.ndarray
    hole: np.ndarray
    is_object: bool
    seed: int


@dataclass(frozen=True)
class EncodedSample:
    """A crop with its hole, encoded.

    Args:
        pair: (2, C, h, w) float16: latents of the crop, and of the crop with its hole.
        hole: (h, w) bool, true = repaint.
        is_object: the hole is that of an object.
        seed: seed of all further randomness.
    """

    pair: np.ndarray
    hole: np.ndarray
    is_object: bool
    seed: int


def packed(pair: np.ndarray, hole: np.ndarray, is_object: bool) -> bytes:
    """Return the latents of a crop as bytes."""
    return bytes([is_object]) + np.packbits(hole).tobytes() + pair.astype("<f2").tobytes()


def unpacked(data: bytes, sample_id: str, epoch: int, settings: StreamSettings) -> EncodedSample:
    """Return what :func:`packed` has packed, with the seed of an epoch.

    Raises:
        SampleError: latents of another shape.
    """
    assert settings.latent_shape is not None
    channels, side = settings.latent_shape
    hole_bytes = -(-side * side // 8)
    if len(data) != 1 + hole_bytes + 4 * channels * side * side:
        raise SampleError("decode", "BrokenLatents", f"{len(data)} bytes are not latents of {channels}x{side}x{side}")
    hole = np.unpackbits(np.frombuffer(data, np.uint8, hole_bytes, 1), count=side * side).astype(bool)
    pair = np.frombuffer(data, "<f2", offset=1 + hole_bytes).reshape(2, channels, side, side)
    rng = np.random.default_rng([settings.seed, epoch, _number(sample_id)])
    return EncodedSample(pair, hole.reshape(side, side), bool(data[0]), int(rng.integers(2**62)))


@dataclass(frozen=True)
class _Place:
    """A square of the upright photo, in its pixels."""

    left: int
    top: int
    side: int
    is_mirrored: bool

    def cut(self, image: Image.Image, size_px: int, factor: float, resample: Image.Resampling) -> np.ndarray:
        """Cut the square out of a photo that was decoded at ``factor`` of its size, and scale it."""
        corners = (self.left, self.top, self.left + self.side, self.top + self.side)
        box = tuple(min(at * factor, limit) for at, limit in zip(corners, 2 * image.size, strict=True))
        gap = 2.0 if resample != Image.Resampling.NEAREST else None
        crop = np.asarray(image.resize((size_px, size_px), resample, box, gap))  # type: ignore[arg-type]
        return crop[:, ::-1] if self.is_mirrored else crop


def draw_crop(inputs: Inputs, sample_id: str, epoch: int, settings: StreamSettings) -> CropSample:
    """Draw crop and hole of a sample; both depend only on the seed, the epoch and the sample's name.

    Args:
        inputs: the compressed photo, and its mask where there is one.
        sample_id: name of the sample.
        epoch: number of the pass over the source.
        settings: size, kinds of masks, seed.

    Raises:
        SampleError: a photo or a mask that cannot be used.
    """
    rng = np.random.default_rng([settings.seed, epoch, _number(sample_id)])
    header = open_checked(inputs.image, MAX_PIXELS)
    if header.mode.startswith("I"):  # 16 bits, of which Pillow would cut off the bright ones
        raise SampleError("decode", "UnsupportedMode", f"pixels of mode {header.mode} are not trained on")
    orientation = header.getexif().get(ORIENTATION, 1)
    size = header.size[::-1] if orientation in SIDEWAYS else header.size
    place = _draw_place(size, settings.size_px, rng)
    photo = _decode(inputs.image, header, settings.size_px / place.side)
    upright = _turned(photo, orientation)
    image = place.cut(upright, settings.size_px, upright.width / size[0], Image.Resampling.BILINEAR)
    hole = None
    if settings.mask is not None and inputs.mask and rng.random() < settings.object_share:
        whole = _object(inputs.mask, header.size, orientation, settings.mask)
        hole = place.cut(whole, settings.size_px, 1.0, Image.Resampling.NEAREST) > 0
    is_object = hole is not None and bool(hole.any()) and not hole.all()
    if hole is None or not is_object:
        hole = random_mask(settings.size_px, rng, settings.kinds)
    return CropSample(image, hole, is_object, int(rng.integers(2**62)))


def _number(sample_id: str) -> int:
    return int.from_bytes(hashlib.sha256(sample_id.encode("utf-8", "surrogatepass")).digest()[:8], "big")


def _draw_place(size: tuple[int, int], size_px: int, rng: np.random.Generator) -> _Place:
    shortest = min(size)
    if shortest < size_px:
        raise SampleError("decode", "TooSmall", f"{size[0]}x{size[1]} pixels are less than a crop of {size_px}")
    side = int(rng.integers(size_px, shortest + 1))
    left, top = (int(rng.integers(length - side + 1)) for length in size)
    return _Place(left, top, side, bool(rng.random() < 0.5))


def _decode(data: bytes, header: Image.Image, factor: float) -> Image.Image:
    """Decode a photo in RGB as it is stored; a JPEG perhaps at a smaller size, at least ``factor`` of its own."""
    if header.format in ("JPEG", "MPO") and header.mode in ("RGB", "L"):
        width, height = (math.ceil(length * factor) for length in header.size)
        try:
            return Image.fromarray(simplejpeg.decode_jpeg(data, "RGB", min_height=height, min_width=width))
        except ValueError as error:
            if UNKNOWN_LAYOUT not in str(error):
                raise SampleError("decode", "BrokenImage", f"JPEG is damaged: {error}") from error
    image = load_pixels(header, data)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        if np.asarray(image)[..., 3].min() < 255:
            raise SampleError("decode", "Transparent", "it has transparent parts, whose colours mean nothing")
    return image.convert("RGB")


def _turned(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(UPRIGHT[orientation]) if orientation in UPRIGHT else image


def _object(data: MaskData, size: tuple[int, int], orientation: int, config: MaskConfig) -> Image.Image:
    """Decode the mask of an object, for the upright photo."""
    parts = [data] if isinstance(data, bytes) else [part.data for part in data]
    size = size[::-1] if config.upright and orientation in SIDEWAYS else size
    mask = np.logical_or.reduce([_fitted(read_mask_file(part, config, MAX_PIXELS), size, config) for part in parts])
    image = Image.fromarray(refine(mask, config).astype(np.uint8) * 255)
    return image if config.upright else _turned(image, orientation)


def _fitted(mask: np.ndarray, size: tuple[int, int], config: MaskConfig) -> np.ndarray:
    if mask.shape == size[::-1]:
        return mask
    if not config.resize:
        message = f"a mask of {mask.shape[1]}x{mask.shape[0]} for a photo of {size[0]}x{size[1]} pixels"
        raise SampleError("mask", "SizeMismatch", f"{message}; set mask.resize=true to scale it")
    return scale(mask, size[::-1])
