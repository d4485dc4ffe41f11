"""Finds objects with ONNX models, for ``mask.kind=detect``."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from pipeline.config.mask import MaskConfig
from pipeline.config.model_input import VALUES, ModelInput
from pipeline.detection.contracts.contract import Contract, Found, Output, Question, describe
from pipeline.detection.contracts.queries import are_queries
from pipeline.detection.geometry import Placement, draw_boxes, tiles
from pipeline.detection.registry import CONTRACTS
from pipeline.detection.session import Session
from pipeline.detection.suppression import suppress
from pipeline.errors import ConfigError, SampleError
from pipeline.masks.drawn import DrawnMask

MAX_OBJECTS = 5000  # in one photo


@dataclass(frozen=True)
class ModelSettings:
    """One model, and what is looked for with it.

    Args:
        path, sha256: of the file.
        output: name of the contract, or ``auto``.
        classes: names or ids; all if empty.
        score: minimum confidence, 0 … 1.
        takes: how the model takes photos.
        tile_px: side of tiles; 0: the whole photo at once.
        device: ``cpu`` or ``cuda``.
    """

    path: str
    sha256: str
    output: str
    classes: tuple[str | int, ...]
    score: float
    takes: ModelInput
    tile_px: int
    device: str


class ModelsDetector:
    """Finds what any of several models finds.

    Args:
        models: the detectors.
    """

    def __init__(self, models: Sequence["ModelDetector"]) -> None:
        self._models = models

    @staticmethod
    def settings(config: MaskConfig) -> tuple[ModelSettings, ...]:
        """See :class:`pipeline.detection.detector.Detector`."""
        files = list(zip(config.model or [], config.model_sha256, strict=False))
        takes = ModelInput.parse(config.input)
        return tuple(
            ModelSettings(
                *file, config.output, tuple(config.classes), config.score, takes, config.tile_px, config.device
            )
            for file in files
        )

    @classmethod
    def open(cls, settings: tuple[ModelSettings, ...]) -> "ModelsDetector":
        """See :class:`pipeline.detection.detector.Detector`."""
        return cls([ModelDetector(each) for each in settings])

    def find(self, rgb: np.ndarray) -> DrawnMask:
        """See :class:`pipeline.detection.detector.Detector`."""
        found = [model.find(rgb) for model in self._models]
        scores = [mask.score for mask in found if mask.score is not None]
        pixels = functools.reduce(np.logical_or, [mask.pixels for mask in found])
        return DrawnMask(pixels, sum(mask.objects or 0 for mask in found), max(scores, default=None))


class ModelDetector:
    """Finds objects with one model.

    Raises:
        ConfigError: the file, its input, its outputs or its classes do not fit; the message says what to set.
    """

    def __init__(self, settings: ModelSettings) -> None:
        self.settings, takes = settings, settings.takes
        self._session = session = Session(Path(settings.path), settings.sha256, settings.device, takes.size)
        outputs = session.try_grey()
        self._contract = self._choose_contract(outputs)
        default = VALUES["byte" if session.dtype == np.uint8 else "unit"]
        mean, std = (takes.mean, takes.std) if takes.mean and takes.std else default
        self._scale = 1 / (255 * np.array(std, np.float32))
        self._shift = np.array(mean, np.float32) / np.array(std, np.float32)
        try:
            count = self._contract.class_count(outputs)
            self._question = Question(session.size, settings.score, self._choose_classes(count))
            self._contract.decode(outputs, self._question)
        except ValueError as error:
            if isinstance(error, ConfigError):
                raise
            raise session.fault(
                f"does not have outputs for mask.output={settings.output}: {error}; it has {describe(outputs)}"
            ) from error
        except SampleError as error:
            raise session.fault(f"fails on a grey picture: {error.message}") from error

    def find(self, rgb: np.ndarray) -> DrawnMask:
        """See :class:`pipeline.detection.detector.Detector`."""
        height, width = rgb.shape[:2]
        canvas = np.zeros((height, width), bool)
        boxes, scores, classes, highest = [], [], [], []
        places = tiles((width, height), self.settings.tile_px)
        for left, top, right, bottom in places:
            placement, found = self._look(rgb[top:bottom, left:right])
            boxes.append(placement.boxes_of_photo(found.boxes) + np.array([left, top, left, top]))
            scores.append(found.scores)
            classes.append(found.classes)
            if found.chances is not None:
                highest.append(_paint(canvas[top:bottom, left:right], placement, found))
        every, sure = np.concatenate(boxes), np.concatenate(scores)
        if len(every) > MAX_OBJECTS:
            raise SampleError("mask", "TooManyObjects", f"the detector finds {len(every)} objects: raise mask.score")
        kept = suppress(every, sure, np.concatenate(classes)) if len(places) > 1 else np.arange(len(every))
        if not highest:
            draw_boxes(canvas, every[kept])
        if len(kept) or not highest:
            return DrawnMask(canvas, len(kept), float(sure[kept].max()) if len(kept) else None)
        count = ndimage.label(canvas, np.ones((3, 3)))[1]
        return DrawnMask(canvas, count, max(highest) if count else None)

    def _look(self, rgb: np.ndarray) -> tuple[Placement, Found]:
        takes = self.settings.takes
        height, width = rgb.shape[:2]
        placement = Placement.of((width, height), self._session.size, takes.fit or self._contract.fit)
        pixels = placement.put(rgb) * self._scale - self._shift
        if takes.order == "bgr":
            pixels = pixels[..., ::-1]
        outputs = self._session.run(pixels)
        try:
            return placement, self._contract.decode(outputs, self._question)
        except ValueError as error:
            message = f"{self._session.name}: {error}; the outputs are {describe(outputs)}"
            raise SampleError("mask", "BadDetection", message) from error

    def _choose_contract(self, outputs: Sequence[Output]) -> Contract:
        """Return the contract that is configured, or the only one that the outputs fit."""
        name, session = self.settings.output, self._session
        if session.task not in ("", "detect", "segment"):
            raise session.fault(f"is made for the task {session.task}, which gives no mask")
        contracts = {key: CONTRACTS.load(key)() for key in CONTRACTS}
        if name != "auto":
            chosen: Contract = contracts[name]
            return chosen
        fitting = [key for key, contract in contracts.items() if contract.matches(outputs, session.size)]
        if len(fitting) == 1:
            return contracts[fitting[0]]
        advice = f"set mask.output to one of {', '.join(fitting or contracts)}"
        if not fitting and are_queries(outputs):
            advice = (
                "set mask.output=detr if the last class means no object, as of DETR, and mask.output=rtdetr if each "
                "class has a chance of its own, as of RT-DETR, RF-DETR and D-FINE"
            )
        raise session.fault(f"has the outputs {describe(outputs)}, which do not tell what they mean: {advice}")

    def _choose_classes(self, count: int | None) -> tuple[int, ...] | None:
        """Return the ids of the configured classes; ``None`` for all."""
        session, wanted = self._session, self.settings.classes
        if session.names and count is not None and len(session.names) != count:
            raise session.fault(f"names {len(session.names)} classes, but its outputs hold {count}")
        if not wanted:
            if self._contract.needs_classes:
                raise session.fault("finds classes of pixels, the ground among them: set mask.classes to those to fill")
            return None
        if not self._contract.has_classes:
            raise session.fault("has no classes, so mask.classes must be empty")
        by_name = {name: key for key, name in session.names.items()}
        ids = [name if isinstance(name, int) else by_name.get(name) for name in wanted]
        for name, key in zip(wanted, ids, strict=True):
            if key is None or key < 0 or (count is not None and key >= count):
                known = ", ".join(by_name) if by_name else "ids only, as the file has no names"
                raise session.fault(f"has no class {name!r}: it has {known}")
        return tuple(key for key in ids if key is not None)


def _paint(canvas: np.ndarray, placement: Placement, found: Found) -> float:
    """Set the pixels of a tile, (h, w) bool, that were found; return the highest chance."""
    assert found.chances is not None
    for rows, pixels in placement.pixels_of_photo(found.chances, found.least):
        canvas[rows] |= pixels
    return float(found.chances.max(initial=0))
