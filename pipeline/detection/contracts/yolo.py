"""``yolo``, ``yolo-seg``: raw predictions and exports with suppression inside, as ultralytics writes them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.detection.contracts.contract import (
    NORMALIZED,
    Found,
    Output,
    Question,
    choose_boxes,
    distinct_boxes,
    in_corners,
    sigmoid,
)

FINISHED = 6  # columns of a finished prediction: the box, score, class
MAX_FINISHED = 1000  # finished predictions of an export
STRIDES = ((8, 16, 32), (8, 16, 32, 64), (4, 8, 16, 32))  # of the grids of predictions
ANCHORS = (1, 3)  # predictions of each cell


@dataclass(frozen=True)
class Predictions:
    """Boxes of all cells.

    Args:
        boxes: (N, 4) left, top, right, bottom in pixels of the input.
        scores: (N,) of the surest class.
        classes: (N,) its id.
        coefficients: (N, K) of prototypes; K may be 0.
        are_distinct: whether the model has suppressed overlapping ones.
    """

    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray
    coefficients: np.ndarray
    are_distinct: bool

    def choose(self, question: Question) -> np.ndarray:
        """Return the indices of boxes to keep."""
        choose = choose_boxes if self.are_distinct else distinct_boxes
        return choose(self.boxes, self.scores, self.classes, question)


class Yolo:
    """One output: (1, 4 + classes, N) of v8 and later, (1, N, 5 + classes) of v5 with the score of an object, or
    (1, N, 6) with the box, score and class of up to 1000 objects."""

    fit, has_classes, needs_classes = "letterbox", True, False

    def matches(self, outputs: Sequence[Output], size: tuple[int, int]) -> bool:
        """See :class:`Contract`."""
        return len(outputs) == 1 and _are_predictions(outputs[0].values, size, 0)

    def class_count(self, outputs: Sequence[Output]) -> int | None:
        """See :class:`Contract`."""
        return _class_count(_predictions_of(outputs).values, 0)

    def decode(self, outputs: Sequence[Output], question: Question) -> Found:
        """See :class:`Contract`."""
        found = _read(_predictions_of(outputs).values, 0, question.size)
        kept = found.choose(question)
        return Found(found.boxes[kept], found.scores[kept], found.classes[kept])


class YoloSegmentation:
    """Predictions as of ``yolo`` with K coefficients each behind, and prototypes (1, K, h, w)."""

    fit, has_classes, needs_classes = "letterbox", True, False

    def matches(self, outputs: Sequence[Output], size: tuple[int, int]) -> bool:
        """See :class:`Contract`."""
        if sorted(output.values.ndim for output in outputs) != [3, 4]:
            return False
        predictions, prototypes = sorted(outputs, key=lambda output: output.values.ndim)
        return _are_predictions(predictions.values, size, prototypes.values.shape[1])

    def class_count(self, outputs: Sequence[Output]) -> int | None:
        """See :class:`Contract`."""
        predictions, prototypes = _with_prototypes(outputs)
        return _class_count(predictions, len(prototypes))

    def decode(self, outputs: Sequence[Output], question: Question) -> Found:
        """See :class:`Contract`."""
        predictions, prototypes = _with_prototypes(outputs)
        found = _read(predictions, len(prototypes), question.size)
        kept = found.choose(question)
        boxes = found.boxes[kept]
        chances = _chances(boxes, found.coefficients[kept], prototypes, question.size)
        return Found(boxes, found.scores[kept], found.classes[kept], chances)


def _chances(boxes: np.ndarray, coefficients: np.ndarray, prototypes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return the highest chance of an object at each pixel of the prototypes, each inside its box only."""
    _, height, width = prototypes.shape
    chances = np.zeros((height, width), np.float32)
    scale = np.array([width / size[0], height / size[1]] * 2)
    for (left, top, right, bottom), weights in zip(boxes * scale, coefficients, strict=True):
        rows = slice(max(0, int(np.floor(top))), max(0, min(height, int(np.ceil(bottom)))))
        columns = slice(max(0, int(np.floor(left))), max(0, min(width, int(np.ceil(right)))))
        inside = sigmoid(np.tensordot(weights, prototypes[:, rows, columns], 1))
        np.maximum(chances[rows, columns], inside, out=chances[rows, columns])
    return chances


def _with_prototypes(outputs: Sequence[Output]) -> tuple[np.ndarray, np.ndarray]:
    """Return predictions and prototypes, (K, h, w)."""
    maps = [output.values for output in outputs if output.values.ndim == 4]
    if len(maps) != 1 or maps[0].shape[0] != 1:
        raise ValueError("prototypes have four axes, (1, K, h, w)")
    return _predictions_of([output for output in outputs if output.values.ndim != 4]).values, maps[0][0]


def _predictions_of(outputs: Sequence[Output]) -> Output:
    rows = [output for output in outputs if output.values.ndim == 3 and output.values.shape[0] == 1]
    if len(rows) != 1:
        raise ValueError("predictions have three axes, of which the first is 1")
    return rows[0]


def _is_finished(shape: tuple[int, ...], coefficients: int) -> bool:
    return shape[2] == FINISHED + coefficients and shape[1] <= MAX_FINISHED


def _are_predictions(values: np.ndarray, size: tuple[int, int], coefficients: int) -> bool:
    if values.ndim != 3 or values.shape[0] != 1:
        return False
    if _is_finished(values.shape, coefficients):
        return True
    cells = [sum((size[0] // stride) * (size[1] // stride) for stride in strides) for strides in STRIDES]
    counts = {count * anchors for count in cells for anchors in ANCHORS}
    return max(values.shape[1:]) in counts and min(values.shape[1:]) > 4 + coefficients


def _class_count(values: np.ndarray, coefficients: int) -> int | None:
    _, rows, columns = values.shape
    if _is_finished(values.shape, coefficients):
        return None
    count = (rows - 4 if rows < columns else columns - 5) - coefficients
    if count < 1:
        raise ValueError(f"{rows}×{columns} leaves no class beside box and score")
    return count


def _read(values: np.ndarray, coefficients: int, size: tuple[int, int]) -> Predictions:
    """Read predictions of any of the three layouts.

    Raises:
        ValueError: the boxes are no pixels of the input.
    """
    count = _class_count(values, coefficients)
    _, rows, columns = values.shape
    table = (values[0].T if count and rows < columns else values[0]).astype(np.float32, copy=False)
    boxes, end = table[:, :4], table.shape[1] - coefficients
    farthest = np.nanmax(np.abs(boxes[:, :2]), initial=0) if count else 0
    if 0 < farthest <= NORMALIZED:
        raise ValueError("the boxes are shares of width and height, not pixels; mask.output=rtdetr takes these")
    if 0 < farthest < max(size) / 4:  # cells are everywhere
        raise ValueError(
            f"no box is farther than {farthest:.1f} pixels from the corner: export the model with decoding"
        )
    if count is None:
        return Predictions(boxes, table[:, 4], table[:, 5].astype(np.int64), table[:, end:], True)
    chances = table[:, end - count : end]
    classes = chances.argmax(axis=1)
    scores = chances[np.arange(len(chances)), classes]
    if rows >= columns:
        scores = scores * table[:, 4]
    return Predictions(in_corners(boxes), scores, classes, table[:, end:], False)
