"""Reduces metadata to what pixels need to look right; everything else is dropped, whatever it is."""

from dataclasses import replace

from PIL import Image

from pipeline.codecs.codec import Settings
from pipeline.codecs.jpeg import segments
from pipeline.codecs.metadata_formats import exif
from pipeline.codecs.metadata_formats.icc import sound_profile
from pipeline.codecs.photo import Photo
from pipeline.codecs.png import chunks as png_chunks
from pipeline.codecs.tiff import tags as tiff_tags

# Settings of encoders that say how pixels are stored or look.
_OF_PIXELS = (
    *("dpi", "compression", "extra_samples", "jpeg"),
    *("quality", "qtables", "subsampling", "keep_rgb", "is_inverted", "progressive", "optimize"),
)


def private(photo: Photo) -> Photo:
    """Return a photo of whose metadata only orientation, resolution, colour space and ICC profile are left."""
    before = photo.encoder
    kept: Settings = {key: before[key] for key in _OF_PIXELS if key in before}
    needed = exif.needed_by_pixels(before.get("exif", b""))
    # Of several profiles in a PNG, Pillow returns the last.
    stored = png_chunks.stored_profile(before["chunks"]) if "chunks" in before else before.get("icc_profile", b"")
    profile = sound_profile(stored)
    if needed:
        kept["exif"] = needed
    if profile:
        kept["icc_profile"] = profile
    if "segments" in before:
        kept["segments"] = segments.new_segments(needed, profile)
    if "chunks" in before:
        kept["chunks"] = png_chunks.needed_by_pixels(before["chunks"], needed, profile)
    if "tiffinfo" in before:
        kept["tiffinfo"] = _needed_tags(before["tiffinfo"])
    return replace(photo, encoder=kept)


def _needed_tags(tags: Image.Exif) -> Image.Exif:
    kept = Image.Exif()
    for tag in tiff_tags.NEEDED:
        if tag in tags:
            kept[tag] = tags[tag]
    return kept
