"""``fiftyone``: a dataset of FiftyOne, whose tags are the verdicts.

The layout with one JSON file (``LegacyFiftyOneDataset``) is written, since ``FiftyOneDataset`` holds the database
documents of one release of FiftyOne. Exports of both types are read.
"""

import base64
import io
import json
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.config.job import LimitsConfig
from pipeline.config.mask import MaskConfig
from pipeline.errors import ConfigError, SampleError
from pipeline.masks.decode import read_mask_file
from pipeline.review.base import DESIGN_COLUMNS, RESULT_COLUMNS, Answer, Answers, Item
from pipeline.review.draw import Draw
from pipeline.review.pictures import encode_mask, encode_stored, mask_hash
from pipeline.verdicts.files import VERDICTS

METADATA, SAMPLES, DATA, BEFORE, HOLE = "metadata.json", "samples.json", "data", "fields/before", "fields/hole"
NAME_FIELD = "moebius_sample_id"  # ``sample_id`` means another thing there
MAX_HEADER_BYTES = 4096  # of an array that is stored in JSON


class FiftyOne:
    """FiftyOne, which need not be installed here; a sample is given its verdict as a tag."""

    def write(self, folder: Path, draw: Draw, items: Iterable[Item], sink: str) -> str:
        """See :class:`pipeline.review.base.ReviewTool`."""
        for name in (DATA, BEFORE, HOLE):
            (folder / name).mkdir(parents=True)
        samples = [sample for item in items if (sample := _sample(folder, draw, item)) is not None]
        shown = {
            "media_fields": ["filepath", "before"],
            "grid_media_field": "filepath",
            "modal_media_field": "filepath",
        }
        info = {"sink": sink, "round": draw.round, "app_config": shown, "mask_targets": {"hole": {"255": "hole"}}}
        metadata = {"name": f"review-{draw.round}", "media_type": "image", "info": info}
        (folder / METADATA).write_text(json.dumps(metadata, indent=1), encoding="utf-8")
        (folder / SAMPLES).write_text(json.dumps({"samples": samples}, indent=1), encoding="utf-8")
        lost = len(draw.rows) - len(samples)
        return (
            f"load {folder} into FiftyOne as fiftyone.types.LegacyFiftyOneDataset and tag samples "
            f"{', '.join(VERDICTS)}" + (f"; {lost} results cannot be read and are left out" if lost else "")
        )

    def is_export(self, path: Path) -> bool:
        """See :class:`pipeline.review.base.ReviewTool`."""
        return path.is_dir() and (path / SAMPLES).is_file()

    def read(self, path: Path) -> Answers:
        """See :class:`pipeline.review.base.ReviewTool`."""
        try:
            samples = json.loads((path / SAMPLES).read_text(encoding="utf-8"))["samples"]
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{path / SAMPLES} is no export of FiftyOne: {error!r}") from error
        answers = Answers()
        for sample in samples:
            if NAME_FIELD in sample:
                answers.found.append(_answer(path, sample))
            else:
                answers.left_out["other samples"] = answers.left_out.get("other samples", 0) + 1
        return answers


def _sample(folder: Path, draw: Draw, item: Item) -> dict[str, Any] | None:
    pixels = item.pixels
    if pixels.after is None:
        return None
    sample: dict[str, Any] = {
        "filepath": _stored(folder, f"{DATA}/{item.name}", pixels.after),
        "tags": [],
        NAME_FIELD: item.row["sample_id"],
        "seam_score": item.row["seam_score"],
        "note": "",
        "reviewer": "",
        **draw.design(item.row),
    }
    if pixels.before is not None:
        sample["before"] = _stored(folder, f"{BEFORE}/{item.name}", pixels.before)
    if pixels.hole is not None:
        sample["hole"] = {"_cls": "Segmentation", "tags": [], "mask_path": f"{HOLE}/{item.name}.png"}
        sample["mask_sha256"] = mask_hash(pixels.hole)
        (folder / HOLE / f"{item.name}.png").write_bytes(encode_mask(pixels.hole))
    return sample


def _stored(folder: Path, name: str, image: np.ndarray) -> str:
    data, extension = encode_stored(image)
    (folder / f"{name}{extension}").write_bytes(data)
    return f"{name}{extension}"


def _answer(folder: Path, sample: Mapping[str, Any]) -> Answer:
    name = str(sample[NAME_FIELD])
    place = f"{folder}, sample {name}"
    verdicts = [tag for tag in sample.get("tags") or () if tag in VERDICTS]
    if len(verdicts) > 1:
        raise ConfigError(f"{place} has the tags {' and '.join(verdicts)}; leave one of them")
    names = ("note", "reviewer", *RESULT_COLUMNS, *DESIGN_COLUMNS)
    fields = {name: str(sample[name]) for name in names if sample.get(name) is not None}
    fields |= {"sample_id": name, "verdict": "".join(verdicts)}
    try:
        mask = _read_hole(folder, sample.get("hole"))
    except SampleError as error:
        raise ConfigError(f"{place}: {error.message}") from error
    except (ValueError, KeyError, TypeError, zlib.error, OSError) as error:
        raise ConfigError(f"{place}: the mask cannot be read: {error}") from error
    is_corrected = mask is not None and mask_hash(mask) != sample.get("mask_sha256")
    return Answer(fields, mask if is_corrected else None, place)


def _read_hole(folder: Path, hole: Mapping[str, Any] | None) -> np.ndarray | None:
    """Read a segmentation, (H, W) bool: a file below the folder, or a compressed array."""
    if not hole:
        return None
    if path := hole.get("mask_path"):
        file = (folder / path).resolve()
        if not file.is_relative_to(folder.resolve()):
            raise ValueError(f"{path} is not below {folder}; export with the media")
        return read_mask_file(file.read_bytes(), MaskConfig(threshold=0), LimitsConfig().max_pixels)
    if not hole.get("mask"):
        return None
    packed = base64.b64decode(hole["mask"]["$binary"]["base64"])
    max_bytes = LimitsConfig().max_pixels + MAX_HEADER_BYTES
    unpacked = zlib.decompressobj().decompress(packed, max_bytes)
    array = np.load(io.BytesIO(unpacked), allow_pickle=False)
    if array.ndim != 2:
        raise ValueError(f"it has the shape {array.shape}, not (height, width)")
    return np.asarray(array != 0)
