"""``detr``, ``rtdetr``: scores of the classes and a box for each query, as transformers predict them."""

from collections.abc import Sequence

import numpy as np

from pipeline.detection.contracts.contract import (
    NORMALIZED,
    Found,
    Output,
    Question,
    as_chances,
    choose_boxes,
    in_corners,
    require_numbers,
    sigmoid,
)

BOX_NAMES = ("box", "dets")
SIGMOID_NAMES = {"dets", "labels"}  # of RF-DETR


class _Queries:
    """Boxes (1, N, 4), centre and size as shares of the input's sides, and scores (1, N, C); perhaps masks
    (1, N, h, w)."""

    fit, has_classes, needs_classes = "stretch", True, False

    def matches(self, outputs: Sequence[Output], size: tuple[int, int]) -> bool:
        """See :class:`Contract`; the two kinds differ in nothing but names that few exports have."""
        return False

    def class_count(self, outputs: Sequence[Output]) -> int | None:
        """See :class:`Contract`."""
        return self._chances(_split(outputs)[1]).shape[1]

    def decode(self, outputs: Sequence[Output], question: Question) -> Found:
        """See :class:`Contract`."""
        boxes, values, masks = _split(outputs)
        if not len(boxes):
            return Found(boxes, np.empty(0, np.float32), np.empty(0, np.int64))
        if np.nanmax(np.abs(boxes)) > 2 * NORMALIZED:
            raise ValueError("the boxes are pixels, not shares of width and height")
        require_numbers(values)
        chances = self._chances(values)
        classes = chances.argmax(axis=1)
        scores = chances[np.arange(len(chances)), classes]
        corners = in_corners(boxes) * np.array([*question.size, *question.size], np.float32)
        kept = choose_boxes(corners, scores, classes, question)
        pixels = None if masks is None else sigmoid(masks[kept]).max(axis=0, initial=0)
        return Found(corners[kept], scores[kept], classes[kept], pixels)

    def _chances(self, values: np.ndarray) -> np.ndarray:
        raise NotImplementedError


class Detr(_Queries):
    """DETR: logits of the classes and, last, of no object; their softmax."""

    def _chances(self, values: np.ndarray) -> np.ndarray:
        powers = np.exp(values - values.max(axis=1, keepdims=True, initial=-np.inf))
        return (powers / powers.sum(axis=1, keepdims=True))[:, :-1]


class RtDetr(_Queries):
    """RT-DETR, RF-DETR, D-FINE: logits of the classes, or chances; each class on its own."""

    def matches(self, outputs: Sequence[Output], size: tuple[int, int]) -> bool:
        """See :class:`Contract`."""
        return {output.name for output in outputs} >= SIGMOID_NAMES and any(_boxes_among(outputs))

    def _chances(self, values: np.ndarray) -> np.ndarray:
        return as_chances(values)


def are_queries(outputs: Sequence[Output]) -> bool:
    """Return whether outputs are boxes and scores of queries, of either kind."""
    shapes = [output.values.shape for output in outputs if output.values.ndim == 3]
    return len(shapes) == 2 and shapes[0][:2] == shapes[1][:2] and 4 in (shapes[0][2], shapes[1][2])


def _boxes_among(outputs: Sequence[Output]) -> list[bool]:
    return [any(part in output.name.lower() for part in BOX_NAMES) for output in outputs]


def _split(outputs: Sequence[Output]) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Return boxes (N, 4), scores (N, C), and masks (N, h, w) if there are any.

    Raises:
        ValueError: they are not there.
    """
    rows = [output for output in outputs if output.values.ndim == 3 and output.values.shape[0] == 1]
    if len(rows) == 1 and rows[0].values.shape[2] > 4:  # the export of ultralytics
        table = rows[0].values[0].astype(np.float32, copy=False)
        return table[:, :4], table[:, 4:], None
    if len(rows) > 2:
        rows = [row for row in rows if row.name in ("logits", "pred_boxes", *SIGMOID_NAMES)]
    boxes = [row for row, is_box in zip(rows, _boxes_among(rows), strict=True) if is_box]
    boxes = boxes or [row for row in rows if row.values.shape[2] == 4]
    if len(rows) != 2 or len(boxes) != 1 or boxes[0].values.shape[2] != 4:
        raise ValueError("queries are boxes (1, N, 4) and scores (1, N, classes)")
    (scores,) = (row for row in rows if row is not boxes[0])
    if scores.values.shape[1] != boxes[0].values.shape[1]:
        raise ValueError("boxes and scores are of different numbers of queries")
    count = scores.values.shape[1]
    masks = [
        output.values[0] for output in outputs if output.values.ndim == 4 and output.values.shape[:2] == (1, count)
    ]
    found = [part.values[0].astype(np.float32, copy=False) for part in (boxes[0], scores)]
    return found[0], found[1], masks[0] if masks else None
