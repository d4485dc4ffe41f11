"""``labelstudio``: tasks with masks as brush regions, a labelling configuration, and the pictures."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.config.job import LimitsConfig
from pipeline.errors import ConfigError
from pipeline.review.base import DESIGN_COLUMNS, RESULT_COLUMNS, Answer, Answers, Item
from pipeline.review.brush_rle import decode_rle, encode_rle
from pipeline.review.draw import Draw
from pipeline.review.pictures import encode_stored, mask_hash

TASKS, LABELS, IMAGES = "tasks.json", "labels.xml", "images"
LOCAL_FILES = "/data/local-files/?d="  # how Label Studio calls files below its document root
VERDICT, NOTE, MASK, HOLE = "verdict", "note", "mask", "hole"
CONFIGURATION = f"""<View>
  <Header value="$sample_id"/>
  <View style="display: flex; gap: 1em">
    <View style="flex: 1"><Header value="before" size="5"/><Image name="before" value="$before" zoom="true"/></View>
    <View style="flex: 1"><Header value="after" size="5"/><Image name="after" value="$after" zoom="true"/></View>
  </View>
  <BrushLabels name="{MASK}" toName="before"><Label value="{HOLE}" background="#e61e3c"/></BrushLabels>
  <Choices name="{VERDICT}" toName="after" choice="single" required="true" showInline="true">
    <Choice value="good" hotkey="g"/><Choice value="bad" hotkey="b"/><Choice value="unsure" hotkey="u"/>
  </Choices>
  <TextArea name="{NOTE}" toName="after" placeholder="note" maxSubmissions="1"/>
</View>
"""


class LabelStudio:
    """Label Studio; it reads the pictures below its document root, and exports ``JSON``."""

    def write(self, folder: Path, draw: Draw, items: Iterable[Item], sink: str) -> str:
        """See :class:`pipeline.review.base.ReviewTool`."""
        (folder / IMAGES).mkdir()
        tasks = [task for item in items if (task := _task(folder, draw, item)) is not None]
        (folder / TASKS).write_text(json.dumps(tasks, indent=1), encoding="utf-8")
        (folder / LABELS).write_text(CONFIGURATION, encoding="utf-8")
        lost = len(draw.rows) - len(tasks)
        return (
            f"import {folder / TASKS} into a project with the labelling interface of {folder / LABELS}, whose local "
            f"storage is {folder.resolve()}" + (f"; {lost} results cannot be read and are left out" if lost else "")
        )

    def is_export(self, path: Path) -> bool:
        """See :class:`pipeline.review.base.ReviewTool`."""
        return path.is_file() and path.suffix.lower() == ".json"

    def read(self, path: Path) -> Answers:
        """See :class:`pipeline.review.base.ReviewTool`."""
        try:
            tasks = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ConfigError(f"{path} is not JSON: {error}") from error
        if not isinstance(tasks, list) or not all(isinstance(task, dict) and "data" in task for task in tasks):
            raise ConfigError(f"{path} is no export of Label Studio; choose the format JSON there, not JSON-MIN")
        answers = Answers()
        for number, task in enumerate(tasks, start=1):
            try:
                _read_task(task, f"{path}, task {task.get('id', number)}", answers)
            except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
                if isinstance(error, ConfigError):
                    raise
                raise ConfigError(f"{path}, task {task.get('id', number)} cannot be read: {error!r}") from error
        return answers


def _task(folder: Path, draw: Draw, item: Item) -> dict[str, Any] | None:
    pixels, after = item.pixels, item.pixels.after
    if after is None:
        return None
    data: dict[str, Any] = {"sample_id": item.row["sample_id"], **draw.design(item.row)}
    photos = {"before": after if pixels.before is None else pixels.before, "after": after}
    for name, image in photos.items():
        encoded, extension = encode_stored(image)
        file = f"{IMAGES}/{item.name}-{name}{extension}"
        (folder / file).write_bytes(encoded)
        data[name] = f"{LOCAL_FILES}{folder.resolve().name}/{file}"
    regions = []
    if pixels.hole is not None and pixels.before is not None:
        data["mask_sha256"] = mask_hash(pixels.hole)
        regions = [_region(pixels.hole)] if pixels.hole.any() else []
    return {"data": data, "predictions": [{"model_version": f"round {draw.round}", "result": regions}]}


def _region(hole: np.ndarray) -> dict[str, Any]:
    return {
        "id": HOLE,
        "from_name": MASK,
        "to_name": "before",
        "type": "brushlabels",
        "original_width": hole.shape[1],
        "original_height": hole.shape[0],
        "image_rotation": 0,
        "value": {"format": "rle", "rle": encode_rle(hole), "brushlabels": [HOLE]},
    }


def _read_task(task: Mapping[str, Any], place: str, answers: Answers) -> None:
    """Add the answers to a task, the latest last."""
    data = task["data"]
    kept = [found for found in task.get("annotations", []) if not found.get("was_cancelled")]
    skipped = len(task.get("annotations", [])) - len(kept)
    for kind, number in (("tasks without an annotation", not kept), ("skipped annotations", skipped)):
        if number:
            answers.left_out[kind] = answers.left_out.get(kind, 0) + number
    for found in sorted(kept, key=_changed_at):
        fields = {
            name: str(data[name])
            for name in ("sample_id", *RESULT_COLUMNS, *DESIGN_COLUMNS)
            if data.get(name) is not None
        }
        person = found.get("completed_by", "")
        fields["reviewer"] = str(person.get("email", "") if isinstance(person, dict) else person)
        fields["reviewed_at"] = _changed_at(found)
        answer = Answer(fields, place=place)
        mask: np.ndarray | None = None
        for part in found["result"]:
            value = part.get("value", {})
            if part.get("from_name") == VERDICT:
                fields["verdict"] = value["choices"][0]
            elif part.get("from_name") == NOTE:
                text = value["text"]
                fields["note"] = text if isinstance(text, str) else "\n".join(text)
            elif part.get("type") == "brushlabels":
                region = _read_region(part)
                mask = region if mask is None else mask | region
            else:
                answers.left_out["other regions"] = answers.left_out.get("other regions", 0) + 1
        if mask is not None and mask_hash(mask) != data.get("mask_sha256"):
            answer.corrected_mask = mask
        answers.found.append(answer)


def _read_region(part: Mapping[str, Any]) -> np.ndarray:
    width, height = part["original_width"], part["original_height"]
    if width * height > LimitsConfig().max_pixels:
        raise ValueError(f"{width}x{height} pixels are too many")
    if part.get("image_rotation"):
        raise ConfigError("a mask was drawn on a turned picture; draw it on the picture as it is")
    return decode_rle(part["value"]["rle"], width, height)


def _changed_at(annotation: Mapping[str, Any]) -> str:
    return str(annotation.get("updated_at") or annotation.get("created_at") or "")
