"""Applies ``sink.metadata`` to a photo before it is encoded, or to a file that is passed through."""

from pipeline.codecs.encode import cut_metadata
from pipeline.codecs.metadata.mark import mark
from pipeline.codecs.metadata.private import private
from pipeline.codecs.metadata.provenance import Provenance
from pipeline.codecs.metadata_formats import exif
from pipeline.codecs.photo import Photo
from pipeline.codecs.webp.chunks import with_metadata
from pipeline.containers import MARK, PRIVATE


def with_policy(photo: Photo, container: str, policy: str, provenance: Provenance | None) -> tuple[Photo, str | None]:
    """Return a photo with the metadata that its result shall have.

    Args:
        photo: to be encoded.
        container: the format of the result, by Pillow's name.
        policy: one of :data:`pipeline.containers.METADATA_POLICIES`.
        provenance: what was done to the photo; ``None`` for nothing.

    Returns:
        The photo, and what of the policy, or of metadata that it keeps, the format has no room for; ``None`` for
        nothing.
    """
    if policy == PRIVATE:
        photo, notes = private(photo), list[str]()
    elif policy == MARK and provenance:
        photo, note = mark(photo, container, provenance)
        notes = [note] if note else []
    else:
        notes = []
    return photo, "; ".join([*notes, *cut_metadata(photo, container)]) or None


def passed_through(photo: Photo, source: bytes, policy: str) -> bytes | None:
    """Return the file of a photo that did not change, without what ``private`` drops; ``None``: it must be encoded."""
    if policy != PRIVATE:
        return source
    if photo.format != "WEBP":  # others are encoded without loss, or with the same coefficients
        return None
    needed = private(photo).encoder
    return with_metadata(source, needed.get("icc_profile", b""), needed.get("exif", b"").removeprefix(exif.PREFIX))
