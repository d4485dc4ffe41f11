"""Reads annotations of images from COCO files, element by element."""

import json
import logging
from collections import Counter
from collections.abc import Iterator
from itertools import groupby
from typing import Any

import pyarrow as pa

from pipeline.database import Database, in_batches
from pipeline.errors import ConfigError
from pipeline.masks.json_stream import read_arrays
from pipeline.storage.storage import Storage

ENTRIES_AT_ONCE = 5000  # an annotation may be long
_ENTRIES = pa.schema(
    [
        ("kind", pa.string()),  # key of the array
        ("number", pa.int64()),
        ("id", pa.string()),  # of an image
        ("name", pa.string()),  # of an image's file, or the id of an annotation's category
        ("text", pa.string()),  # size of an image, or shape of an annotation, as JSON
    ]
)

logger = logging.getLogger(__name__)


def read_coco(
    storage: Storage, categories: list[str | int], left_out: Counter[str] | None = None
) -> Iterator[tuple[str, str]]:
    """Yield the images of a COCO file with their annotations, including images without any.

    Ids are compared as text, so that ``"1"`` is ``1``. The file may be larger than memory.

    Args:
        storage: the file.
        categories: names or ids to fill; empty means all.
        left_out: receives the number of annotations that belong to no image.

    Raises:
        ConfigError: no COCO file, a category that it does not have, two images of one id, or no annotation of any of
            its images.
    """
    known: dict[str, Any] = {}
    with Database() as database:
        try:
            with storage.open("") as file:
                entries = _entries(
                    read_arrays(file, ("images", "annotations"), ("categories",)), bool(categories), known
                )
                database.create("entries", _ENTRIES, in_batches(entries, _ENTRIES, ENTRIES_AT_ONCE))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ConfigError(f"{storage} is not a COCO file with images and annotations: {error!r}") from error
        chosen = _chosen(known, categories, storage)
        _merge_repeated(database, storage)
        unknown = _tell_unknown(database, storage)
        if unknown and left_out is not None:
            left_out["annotations without an image"] = unknown
        rows = (
            row
            for table in database.stream(_JOIN, ENTRIES_AT_ONCE, {"all": not categories, "chosen": chosen})
            for row in zip(*(table[name].to_pylist() for name in ("number", "name", "size", "shape")), strict=True)
        )
        for (_, name, size), shapes in groupby(rows, key=lambda row: row[:3]):
            drawn = ", ".join(shape for *_, shape in shapes if shape is not None)
            yield name, f'{{{size}"segments": [{drawn}]}}'


def _entries(arrays: Iterator[tuple[str, Any]], with_categories: bool, known: dict[str, Any]) -> Iterator[tuple]:
    """Yield images and annotations as rows of ``_ENTRIES``; collect categories in a dictionary."""
    for number, (kind, entry) in enumerate(arrays):
        if kind == "categories":
            known[_id_text(entry["id"])] = entry.get("name")
        elif kind == "images":
            size = "".join(
                f'"{key}": {json.dumps(entry[key])}, ' for key in ("height", "width") if entry.get(key) is not None
            )
            yield kind, number, _id_text(entry["id"]), str(entry["file_name"]), size
        else:
            category = _id_text(entry["category_id"]) if with_categories else None
            yield kind, number, _id_text(entry["image_id"]), category, json.dumps(_shape(entry))


def _shape(annotation: dict[str, Any]) -> Any:
    """Return the segmentation, or the box if it is empty."""
    found = annotation.get("segmentation")
    is_blank = not found or (isinstance(found, list) and not any(found))
    return {"bbox": annotation.get("bbox")} if is_blank else found


def _id_text(value: object) -> str:
    """Return an id as text; tools that store numbers with gaps write 1 as 1.0."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _chosen(known: dict[str, Any], categories: list[str | int], storage: Storage) -> list[str]:
    """Return the ids of the requested categories."""
    names = {str(name) for name in known.values()}
    if missing := [str(asked) for asked in categories if str(asked) not in names and str(asked) not in known]:
        has = ", ".join(map(str, known.values())) or "none"
        raise ConfigError(f"mask.categories: {storage} has no {', '.join(missing)}; it has {has}")
    return [
        key for key, name in known.items() if any(asked in (name, key) or str(asked) == key for asked in categories)
    ]


def _merge_repeated(database: Database, storage: Storage) -> None:
    """Keep the last entry of images that are listed several times."""
    for id_text, first, last in database.run(_REPEATED):
        if first != last:
            raise ConfigError(
                f"{storage}: {first} and {last} are both image {id_text}, so its annotations are ambiguous; "
                "give each image an id of its own"
            )
        database.run(_DELETE_REPEATED, {"id": id_text})


def _tell_unknown(database: Database, storage: Storage) -> int:
    """Warn about annotations that are left out because the file has no such image, and return their number."""
    ((count, unknown, example),) = database.run(_UNKNOWN)
    if unknown and unknown == count:
        raise ConfigError(f"{storage}: none of its {count} annotations has the image_id of an image, such as {example}")
    if unknown:
        logger.warning(
            "%s: %d of %d annotations are left out: they have the image_id of no image, such as %s",
            storage,
            unknown,
            count,
            example,
        )
    return int(unknown)


_REPEATED = """
SELECT id, min(name), max(name) FROM entries WHERE kind = 'images' GROUP BY id HAVING count(*) > 1 ORDER BY id"""

_DELETE_REPEATED = """
DELETE FROM entries WHERE kind = 'images' AND id = $id
AND number < (SELECT max(number) FROM entries WHERE kind = 'images' AND id = $id)"""

_UNKNOWN = """
SELECT count(*), count(*) FILTER (images.id IS NULL), min(entries.id) FILTER (images.id IS NULL)
FROM entries LEFT JOIN (SELECT id FROM entries WHERE kind = 'images') images ON images.id = entries.id
WHERE kind = 'annotations'"""

_JOIN = """
SELECT images.number, images.name, images.text AS size, shapes.text AS shape
FROM (FROM entries WHERE kind = 'images') images
LEFT JOIN (
    FROM entries WHERE kind = 'annotations' AND ($all OR list_contains($chosen, name))
) shapes ON shapes.id = images.id
ORDER BY images.number, shapes.number"""
