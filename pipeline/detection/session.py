"""Opens ONNX models safely and runs them the same way each time."""

import ast
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from pipeline.config.model_input import MAX_SIDE_PX
from pipeline.detection.contracts.contract import Output
from pipeline.detection.model_file import read_model
from pipeline.detection.onnx_model import RunModel, open_model, run_model, try_model
from pipeline.errors import ConfigError, SampleError

SIZE_INPUTS = ("orig_target_sizes", "target_sizes", "im_shape")  # height and width, or the other way round
DTYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8}


class Session:
    """An ONNX model that takes one photo.

    It runs in one thread, so the same input gives the same outputs; several threads may call at once.

    Args:
        path: of the file.
        sha256: that it must have.
        device: ``cpu`` or ``cuda``.
        size: (width, height) of the input for models that take several; ``None``: that of the model.

    Attributes:
        size: (width, height) of the input.
        dtype: of the input.
        names: of the classes by id, as far as the file says.
        task: of the model, as far as the file says.

    Raises:
        ConfigError: the model cannot be used; the message says why.
    """

    def __init__(self, path: Path, sha256: str, device: str, size: tuple[int, int] | None) -> None:
        self.name = path.name
        self._session = open_model(read_model(path, sha256), self.name, device)
        self._find_input(size)
        about: Mapping[str, str] = self._session.get_modelmeta().custom_metadata_map
        self.names, self.task = _parse_names(about.get("names", "")), about.get("task", "")

    def fault(self, message: str) -> ConfigError:
        """Return an error of the configuration that names the model."""
        return ConfigError(f"mask.model: {self.name} {message}")

    def try_grey(self) -> list[Output]:
        """Run the model on a grey picture, see :func:`pipeline.detection.onnx_model.try_model`.

        Raises:
            ConfigError: it fails.
        """
        grey = np.full((self.size[1], self.size[0], 3), 127 if self.dtype == np.uint8 else 0.5, np.float32)
        try:
            return self._run(grey, try_model)
        except (RuntimeError, ValueError) as error:
            raise self.fault(f"fails on a grey picture: {error}") from error

    def run(self, pixels: np.ndarray) -> list[Output]:
        """Run the model.

        Args:
            pixels: (height, width, 3) float32 as the model wants the values.

        Raises:
            SampleError: the model fails.
        """
        try:
            return self._run(pixels)
        except RuntimeError as error:
            raise SampleError("mask", "DetectorFailed", f"{self.name}: {error}") from error

    def _find_input(self, size: tuple[int, int] | None) -> None:
        inputs = {node.name: node for node in self._session.get_inputs()}
        described = ", ".join(f"{node.name} {node.shape} {node.type}" for node in inputs.values())
        photos = [node for node in inputs.values() if node.type in DTYPES and _channel_axis(node.shape) is not None]
        if len(photos) != 1:
            raise self.fault(
                f"must take one photo of three colours, (1, 3, height, width) or with 3 last; it takes {described}"
            )
        photo = photos[0]
        sizes = [node for name, node in inputs.items() if name in SIZE_INPUTS and node.shape[-1:] == [2]]
        if others := inputs.keys() - {photo.name} - {node.name for node in sizes}:
            raise self.fault(f"takes more than a photo and its size: {', '.join(sorted(others))}")
        self._photo, self._axis = photo, _channel_axis(photo.shape)
        self._sizes = {node.name: np.int64 if node.type == "tensor(int64)" else np.float32 for node in sizes}
        self.dtype = np.dtype(DTYPES[photo.type])
        self.size = self._choose_size(size)

    def _choose_size(self, size: tuple[int, int] | None) -> tuple[int, int]:
        rank, axis = len(self._photo.shape), self._axis
        stated = [side for index, side in enumerate(self._photo.shape) if index not in (axis, rank - 4)]
        height, width = (side if isinstance(side, int) and side > 0 else None for side in stated)
        if size is None and not (height and width):
            raise self.fault(f"takes photos of any size, {self._photo.shape}: set mask.input={{size: [width, height]}}")
        chosen = size or (width or 0, height or 0)
        if any(side not in (None, wanted) for side, wanted in zip((width, height), chosen, strict=True)):
            raise self.fault(f"takes photos of {width}x{height} pixels, but mask.input.size is {list(chosen)}")
        if max(chosen) > MAX_SIDE_PX:
            raise self.fault(f"takes photos of {chosen[0]}x{chosen[1]} pixels, more than {MAX_SIDE_PX} a side")
        return chosen

    def _run(self, pixels: np.ndarray, run: RunModel = run_model) -> list[Output]:
        photo = pixels if self._axis in (-1, len(self._photo.shape) - 1) else pixels.transpose(2, 0, 1)
        if len(self._photo.shape) == 4:
            photo = photo[None]
        if self.dtype == np.uint8:
            photo = photo.round().clip(0, 255)
        given = {self._photo.name: np.ascontiguousarray(photo, self.dtype)}
        # Boxes come back in this size: pixels of the input, where the photo's place in it is known.
        given |= {name: np.array([self.size], dtype) for name, dtype in self._sizes.items()}
        names = [node.name for node in self._session.get_outputs()]
        return [Output(*named) for named in zip(names, run(self._session, given), strict=True)]


def _channel_axis(shape: Sequence[int | str | None]) -> int | None:
    """Return the axis of the three colours of (1, 3, h, w), (1, h, w, 3), or the same without a batch."""
    rank = len(shape)
    if rank not in (3, 4) or (rank == 4 and isinstance(shape[0], int) and shape[0] not in (1, -1)):
        return None
    return next((axis for axis in (rank - 3, rank - 1) if shape[axis] == 3), None)


def _parse_names(text: str) -> dict[int, str]:
    """Parse names of classes as ultralytics writes them: a dictionary or a list, as Python writes it."""
    try:
        parsed = ast.literal_eval(text) if text else {}
        named = parsed.items() if isinstance(parsed, dict) else enumerate(parsed)
        return {int(key): str(name) for key, name in named}
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return {}
