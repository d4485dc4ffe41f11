"""The interface of contracts: what the outputs of a model mean."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from pipeline.detection.suppression import suppress
from pipeline.errors import SampleError

MAX_CANDIDATES = 5000  # boxes that are sure enough, before overlapping ones are suppressed
NORMALIZED = 1.5  # a coordinate up to here is a share of a side; no box of pixels lies in the first one and a half


@dataclass(frozen=True)
class Output:
    """One output of a model.

    Args:
        name: as the model calls it.
        values: any shape; the first axis is the batch of one, where the output has one.
    """

    name: str
    values: np.ndarray

    def __str__(self) -> str:
        return f"{self.name} {'×'.join(map(str, self.values.shape)) or 'scalar'} {self.values.dtype}"


@dataclass(frozen=True)
class Question:
    """Size of the input, and the objects to look for in the outputs.

    Args:
        size: (width, height) of the model's input in pixels.
        score: minimum confidence, 0 … 1.
        classes: ids of the classes; ``None`` for all.
    """

    size: tuple[int, int]
    score: float
    classes: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Found:
    """Objects in the outputs, in pixels of the model's input.

    Args:
        boxes: (N, 4) left, top, right, bottom.
        scores: (N,) 0 … 1.
        classes: (N,) ids.
        chances: (h, w) 0 … 1, the whole input, for contracts that find pixels.
        least: chance from which a pixel is filled.
    """

    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray
    chances: np.ndarray | None = None
    least: float = 0.5


class Contract(Protocol):
    """The meaning of the outputs of a kind of model.

    Attributes:
        fit: how such models usually take photos.
        has_classes: whether there are several classes to choose from.
        needs_classes: whether ``mask.classes`` must be given.
    """

    fit: str
    has_classes: bool
    needs_classes: bool

    def matches(self, outputs: Sequence[Output], size: tuple[int, int]) -> bool:
        """Return whether the outputs of a grey picture of a size, (width, height), can only be of this kind."""

    def class_count(self, outputs: Sequence[Output]) -> int | None:
        """Return the number of classes that the shapes tell; ``None`` if they tell none.

        Raises:
            ValueError: the outputs are not of this kind.
        """

    def decode(self, outputs: Sequence[Output], question: Question) -> Found:
        """Return what is sure enough.

        Raises:
            ValueError: the outputs are not of this kind.
            SampleError: values that are no numbers, or far too many objects.
        """


def choose_boxes(boxes: np.ndarray, scores: np.ndarray, classes: np.ndarray, question: Question) -> np.ndarray:
    """Return the indices of boxes that are sure enough and of the classes in question.

    Args:
        boxes: (N, 4); scores, classes: (N,).

    Raises:
        SampleError: values that are no numbers, or too many boxes.
    """
    require_numbers(scores)
    wanted = scores >= question.score
    if question.classes is not None:
        wanted &= np.isin(classes, question.classes)
    chosen = np.flatnonzero(wanted)
    require_numbers(boxes[chosen])
    if len(chosen) > MAX_CANDIDATES:
        raise SampleError(
            "mask",
            "TooManyObjects",
            f"the detector finds {len(chosen)} boxes, more than {MAX_CANDIDATES}: raise mask.score",
        )
    return chosen


def distinct_boxes(boxes: np.ndarray, scores: np.ndarray, classes: np.ndarray, question: Question) -> np.ndarray:
    """Return the indices of :func:`choose_boxes` without those that overlap a surer one of their class."""
    chosen = choose_boxes(boxes, scores, classes, question)
    return chosen[suppress(boxes[chosen], scores[chosen], classes[chosen])]


def require_numbers(values: np.ndarray) -> None:
    """Refuse NaN and infinities; raise ``SampleError``."""
    if not np.isfinite(values).all():
        raise SampleError("mask", "BadDetection", "the detector's outputs hold NaN or infinite values")


def in_corners(boxes: np.ndarray) -> np.ndarray:
    """Convert boxes, (N, 4), from centre x, centre y, width, height to left, top, right, bottom."""
    half = boxes[:, 2:] / 2
    return np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], axis=1)


def as_chances(values: np.ndarray) -> np.ndarray:
    """Return values as they are if all are in 0 … 1, otherwise their sigmoid."""
    require_numbers(values)
    if not values.size or (values.min() >= -1e-3 and values.max() <= 1 + 1e-3):
        return values.astype(np.float32, copy=False)
    return sigmoid(values)


def sigmoid(values: np.ndarray) -> np.ndarray:
    """Return the logistic function of values, which never overflows."""
    return (0.5 * (1 + np.tanh(0.5 * values.astype(np.float32)))).astype(np.float32)


def describe(outputs: Sequence[Output]) -> str:
    """Name outputs with their shapes, for messages."""
    return ", ".join(map(str, outputs)) or "none"
