"""``heatmap``, ``classmap``: one value for each pixel, as of segmentation, saliency and text detection."""

from collections.abc import Sequence

import numpy as np

from pipeline.detection.contracts.contract import Found, Output, Question, as_chances, require_numbers

NO_BOXES = np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty(0, np.int64)


class Heatmap:
    """(1, 1, h, w) or (1, h, w) of chances or logits; of several maps the first."""

    fit, has_classes, needs_classes = "stretch", False, False

    def matches(self, outputs: Sequence[Output], size: tuple[int, int]) -> bool:
        """See :class:`Contract`."""
        return bool(outputs) and all(
            _is_heatmap(output.values) and _has_sides_like(output.values, size) for output in outputs
        )

    def class_count(self, outputs: Sequence[Output]) -> int | None:
        """See :class:`Contract`."""
        _heatmap(outputs)
        return None

    def decode(self, outputs: Sequence[Output], question: Question) -> Found:
        """See :class:`Contract`."""
        values = _heatmap(outputs)
        _require_sides_like(values, question.size)
        return Found(*NO_BOXES, as_chances(values), question.score)


class ClassMap:
    """(1, C, h, w) scores of the classes, or (1, h, w) or (1, 1, h, w) ids; of several outputs the first."""

    fit, has_classes, needs_classes = "stretch", True, True

    def matches(self, outputs: Sequence[Output], size: tuple[int, int]) -> bool:
        """See :class:`Contract`."""
        return bool(outputs) and all(_is_class_map(output.values) for output in outputs)

    def class_count(self, outputs: Sequence[Output]) -> int | None:
        """See :class:`Contract`."""
        values = _class_map(outputs)
        return len(values) if values.ndim == 3 else None

    def decode(self, outputs: Sequence[Output], question: Question) -> Found:
        """See :class:`Contract`; where ids are given, the chance is 0 or 1, and otherwise a softmax."""
        values = _class_map(outputs)
        _require_sides_like(values, question.size)
        wanted = list(question.classes or ())
        if values.ndim == 2:
            return Found(*NO_BOXES, np.isin(values, wanted).astype(np.float32))
        require_numbers(values)
        powers = values.astype(np.float32)
        if values.min() < 0 or not np.allclose(powers.sum(axis=0), 1, atol=1e-2):
            np.exp(powers - powers.max(axis=0), out=powers)
            powers /= powers.sum(axis=0)
        return Found(*NO_BOXES, powers[wanted].sum(axis=0), question.score)


def _is_heatmap(values: np.ndarray) -> bool:
    is_map = values.ndim == 3 or (values.ndim == 4 and values.shape[1] == 1)
    return is_map and values.shape[0] == 1 and values.dtype.kind == "f" and min(values.shape[-2:]) > 1


def _has_sides_like(values: np.ndarray, size: tuple[int, int]) -> bool:
    """Return whether a map has the proportions of the input, within a pixel, unlike a table of predictions."""
    height, width = values.shape[-2:]
    return abs(height * size[0] - width * size[1]) <= max(size)


def _require_sides_like(values: np.ndarray, size: tuple[int, int]) -> None:
    if not _has_sides_like(values, size):
        height, width = values.shape[-2:]
        raise ValueError(f"a map of {height}×{width} has not the proportions of the input, {size[1]}×{size[0]}")


def _heatmap(outputs: Sequence[Output]) -> np.ndarray:
    if not outputs or not _is_heatmap(outputs[0].values):
        raise ValueError("a heatmap is (1, 1, h, w) or (1, h, w) of floating point numbers")
    values = outputs[0].values
    return values.reshape(values.shape[-2:])


def _is_class_map(values: np.ndarray) -> bool:
    if values.dtype.kind in "iu":
        return values.shape[0] == 1 and (values.ndim == 3 or (values.ndim == 4 and values.shape[1] == 1))
    return values.dtype.kind == "f" and values.ndim == 4 and values.shape[0] == 1 and values.shape[1] > 1


def _class_map(outputs: Sequence[Output]) -> np.ndarray:
    if not outputs or not _is_class_map(outputs[0].values):
        raise ValueError("a class map is (1, C, h, w) of scores, or (1, h, w) of ids")
    values = outputs[0].values
    return values.reshape(values.shape[-2:]) if values.dtype.kind in "iu" else values[0]
