"""``boxes``: finished boxes with their scores and labels, as torchvision, RT-DETR and D-FINE export them."""

from collections.abc import Sequence

import numpy as np

from pipeline.detection.contracts.contract import NORMALIZED, Found, Output, Question, choose_boxes


class Boxes:
    """Boxes (N, 4), left, top, right, bottom in pixels of the input, scores (N,) and labels (N,), perhaps with a batch
    of one before; and perhaps masks (N, 1, height, width) of chances, as of Mask R-CNN."""

    fit, has_classes, needs_classes = "stretch", True, False

    def matches(self, outputs: Sequence[Output], size: tuple[int, int]) -> bool:
        """See :class:`Contract`."""
        try:
            _split(outputs)
        except ValueError:
            return False
        return True

    def class_count(self, outputs: Sequence[Output]) -> int | None:
        """See :class:`Contract`."""
        _split(outputs)
        return None

    def decode(self, outputs: Sequence[Output], question: Question) -> Found:
        """See :class:`Contract`."""
        boxes, scores, classes = _split(outputs)
        kept = choose_boxes(boxes, scores, classes, question)
        if len(kept) and boxes[kept].max() <= NORMALIZED:
            raise ValueError("the boxes are shares of width and height, not pixels")
        masks = [output.values for output in outputs if output.values.ndim == 4]
        chances = None
        if masks:
            if masks[0].shape != (len(boxes), 1, *question.size[::-1]):
                raise ValueError("masks must be as large as the input, (N, 1, height, width)")
            chances = masks[0][kept, 0].max(axis=0, initial=0).astype(np.float32)
        return Found(boxes[kept], scores[kept], classes[kept], chances)


def _split(outputs: Sequence[Output]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return boxes (N, 4), scores (N,) and labels (N,), by name where names tell, otherwise by type.

    Raises:
        ValueError: they are not there.
    """
    flat = [(output, _without_batch(output.values)) for output in outputs if output.values.ndim < 4]
    boxes = [values for _, values in flat if values.ndim == 2 and values.shape[1] == 4]
    columns = [(output, values) for output, values in flat if values.ndim == 1]
    named = [values for output, values in columns if "score" in output.name.lower()]
    floats = [values for _, values in columns if values.dtype.kind == "f"]
    scores = named or floats
    labels = [values for _, values in columns if not any(values is score for score in scores)]
    if len(boxes) != 1 or len(scores) != 1 or len(labels) != 1 or len(flat) != 3:
        raise ValueError("finished boxes are boxes (N, 4), scores (N,) and labels (N,)")
    if not len(boxes[0]) == len(scores[0]) == len(labels[0]):
        raise ValueError("boxes, scores and labels are of different numbers of objects")
    return boxes[0].astype(np.float32, copy=False), scores[0].astype(np.float32, copy=False), labels[0].astype(np.int64)


def _without_batch(values: np.ndarray) -> np.ndarray:
    """Remove a batch of one: (1, N, 4) and (1, N) become (N, 4) and (N,)."""
    is_batch = values.ndim == 3 or (values.ndim == 2 and values.shape[0] == 1 and values.shape[1] != 4)
    return values[0] if is_batch and values.shape[0] == 1 else values
