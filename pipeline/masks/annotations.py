"""Masks that are drawn from annotations in one file, kept as one short text per sample."""

import json
import logging
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pipeline.config.mask import MaskConfig
from pipeline.config.rules import MaskPlace
from pipeline.errors import ConfigError, SampleError
from pipeline.masks.base import MaskKind, open_kind
from pipeline.sources.versions import with_mask_sql

if TYPE_CHECKING:
    import numpy as np

    from pipeline.codecs.photo import Photo
    from pipeline.database import Database
    from pipeline.masks.canvas import Canvas
    from pipeline.masks.drawn import DrawnMask
    from pipeline.storage.storage import Storage

SPECS_AT_ONCE = 2000  # one may be long
Spec = dict[str, Any]

logger = logging.getLogger(__name__)


class AnnotatedMasks(MaskKind):
    """Annotations in one file, keyed by the image's path below the source."""

    def __init__(self, config: MaskConfig) -> None:
        super().__init__(config)
        self.place = MaskPlace(is_annotated=True)

    def open(self, storage: "Storage", source: "Storage") -> None:
        """See :class:`pipeline.masks.base.MaskKind`."""
        super().open(storage, source)
        if not storage.is_file():
            raise ConfigError(f"mask.uri must be one file for mask.kind={self.config.kind}, found none at {storage}")

    def pair(self, database: "Database") -> None:
        """Create the table ``samples`` from ``images`` and their annotations, of which one image may have several.

        Raises:
            ConfigError: the file cannot be read, or none of its names is that of an image.
        """
        import pyarrow as pa

        from pipeline.database import in_batches
        from pipeline.masks.look_alikes import pair_annotations

        schema = pa.schema([("key", pa.string()), ("spec", pa.string())])
        database.create("specs", schema, in_batches(self.annotations(self.storage), schema, SPECS_AT_ONCE))
        database.run(_PLAIN_NAMES)
        pair_annotations(database)
        database.run(_PAIR_BY_NAME)
        ((named, unmatched, example),) = database.run(_UNMATCHED)
        if unmatched == named and (named or self.config.missing == "fail"):
            raise ConfigError(
                f"{self.storage} annotates none of the images; it names {example or 'nothing'!r}, but names must "
                "be paths below source.uri"
            )
        if unmatched:
            self.left_out["names without an image"] = unmatched
            logger.warning(
                "%s: %d of %d names match no image, such as %r; they must be paths below source.uri",
                self.storage,
                unmatched,
                named,
                example,
            )

    def draw(self, data: bytes, photo: "Photo", max_pixels: int) -> "DrawnMask":
        """See :class:`pipeline.masks.base.MaskKind`."""
        from pipeline.masks.drawn import DrawnMask
        from pipeline.masks.sizes import drawn_shape, fitted

        shape = drawn_shape(photo.pixels.shape[:2], photo.orientation, self.config)
        mask, count = self.draw_spec(data.decode(), shape, photo.orientation)
        return DrawnMask(fitted(mask, photo, self.config), count)

    def draw_spec(self, spec: str, shape: tuple[int, int], orientation: int = 1) -> "tuple[np.ndarray, int]":
        """Draw the mask of a sample's annotations.

        Args:
            spec: list of what :meth:`annotations` found for it.
            shape: height and width of the image as it was annotated, see :func:`pipeline.masks.sizes.drawn_shape`.
            orientation: of the image, 1 … 8 as in EXIF.

        Returns:
            (height, width) bool, of the size that a COCO file states, where it states one; and the number of shapes.

        Raises:
            SampleError: annotations that are none, lie outside the image, or cover nothing.
        """
        try:
            canvas, count = self.drawn(json.loads(spec), shape, orientation)
            mask = canvas.mask()
            if count and not mask.any():
                raise ValueError(f"none of {count} covers a pixel")
            return mask, count
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, RecursionError) as error:
            raise SampleError("mask", "BadAnnotation", f"the annotation cannot be drawn: {error}") from error

    def drawn(self, parts: list[Spec], shape: tuple[int, int], orientation: int) -> "tuple[Canvas, int]":
        """Draw a sample's annotations, see :meth:`draw_spec`; return the canvas and the number of shapes.

        Raises:
            ValueError, TypeError, KeyError: of annotations that are none.
        """
        raise NotImplementedError

    def if_turned(self, shape: tuple[int, int], orientation: int) -> str:
        """Return the advice for shapes that fit only with the sides swapped; empty if EXIF swaps none."""
        from pipeline.masks.sizes import turned_advice

        return turned_advice(shape, orientation, self.config)

    def may_be_upright(self, shape: tuple[int, ...], orientation: int) -> bool:
        """Return true: coordinates may fit both the image as stored and as shown."""
        return True


def listed(parts: list[Spec], key: str) -> list[Any]:
    """Return the shapes of all annotations of a sample."""
    return [shape for part in parts for shape in part[key]]


def read_annotations(config: MaskConfig, storage: "Storage") -> Iterator[tuple[str, str]]:
    """Yield names of images and their annotations in the file of ``mask.uri``; a name may come several times."""
    return open_kind(config).annotations(storage)


def plain_name(name: str) -> str:
    """Normalize a name of an image: replace backslashes with slashes, and remove a leading ``./``."""
    return re.sub(r"^(\./+)+", "", name.replace("\\", "/"))


_PAIR_BY_NAME = f"""
CREATE TABLE samples AS
WITH repeated AS (SELECT key FROM specs GROUP BY key HAVING count(*) > 1)
SELECT
    images.sample_id,
    {with_mask_sql("images.version", "md5(specs.spec)")} AS input_version,
    images.size_bytes,
    images.file,
    images.locator,
    if(specs.spec IS NULL, NULL, '') AS mask_key,
    NULL::BIGINT AS mask_bytes,
    specs.spec AS mask_spec,
    images.fault,
    images.carried
FROM images LEFT JOIN (
    SELECT key, '[' || spec || ']' AS spec FROM specs WHERE key NOT IN (FROM repeated)
    UNION ALL
    SELECT key, '[' || string_agg(spec, ',' ORDER BY spec) || ']' AS spec FROM specs WHERE key IN (FROM repeated)
    GROUP BY key
) specs ON specs.key = images.sample_id"""

# Normalized as by :func:`plain_name`, unless an image has exactly this name.
_PLAIN_NAMES = r"""
UPDATE specs SET key = regexp_replace(replace(key, '\', '/'), '^(\./+)+', '')
WHERE (contains(key, '\') OR starts_with(key, './')) AND key NOT IN (SELECT sample_id FROM images)"""

_UNMATCHED = """
SELECT count(*), count(*) FILTER (sample_id IS NULL), min(key) FILTER (sample_id IS NULL)
FROM (SELECT DISTINCT key FROM specs) LEFT JOIN images ON images.sample_id = key"""
