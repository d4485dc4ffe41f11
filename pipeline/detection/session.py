"""Opens ONNX models safely and runs them the same way each time."""

import ast
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.config.model_input import MAX_SIDE_PX
from pipeline.detection.contracts.contract import Output
from pipeline.detection.model_file import read_model
from pipeline.errors import MACHINE_ERRORS, ConfigError, SampleError

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

MAX_OUTPUT_VALUES = 1 << 28  # of all outputs together
TRIAL_S = 300.0  # for the first picture
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
        self._session = self._open(read_model(path, sha256), device)
        self._find_input(size)
        about: Mapping[str, str] = self._session.get_modelmeta().custom_metadata_map
        self.names, self.task = _parse_names(about.get("names", "")), about.get("task", "")

    def fault(self, message: str) -> ConfigError:
        """Return an error of the configuration that names the model."""
        return ConfigError(f"mask.model: {self.name} {message}")

    def try_grey(self) -> list[Output]:
        """Run the model on a grey picture, for at most ``TRIAL_S``.

        Raises:
            ConfigError: it fails.
        """
        import onnxruntime

        options = onnxruntime.RunOptions()
        timer = threading.Timer(TRIAL_S, setattr, (options, "terminate", True))
        timer.daemon = True
        timer.start()
        grey = np.full((self.size[1], self.size[0], 3), 127 if self.dtype == np.uint8 else 0.5, np.float32)
        try:
            return self._run(grey, options)
        except (RuntimeError, ValueError) as error:
            raise self.fault(f"fails on a grey picture: {error}") from error
        finally:
            timer.cancel()

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

    def _open(self, model: bytes, device: str) -> "InferenceSession":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.use_deterministic_compute, options.log_severity_level = True, 4
        providers = ["CUDAExecutionProvider"] * (device == "cuda")
        if missing := set(providers) - set(onnxruntime.get_available_providers()):
            raise ConfigError(
                f"mask.device=cuda needs a GPU and the package onnxruntime-gpu; there is no {missing.pop()}"
            )
        try:
            # Its fallback would print to standard output, and change the device unasked.
            where = {"providers": [*providers, "CPUExecutionProvider"], "enable_fallback": 0}
            session = onnxruntime.InferenceSession(model, options, **where)
        except MACHINE_ERRORS:
            raise
        except Exception as error:  # its errors have no class in common
            raise self.fault(f"is no model that this onnxruntime can run: {_first_line(error)}") from error
        if providers and "CUDAExecutionProvider" not in session.get_providers():
            raise ConfigError("mask.device=cuda: onnxruntime cannot use the GPU of this machine")
        return session

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

    def _run(self, pixels: np.ndarray, options: Any = None) -> list[Output]:
        photo = pixels if self._axis in (-1, len(self._photo.shape) - 1) else pixels.transpose(2, 0, 1)
        if len(self._photo.shape) == 4:
            photo = photo[None]
        if self.dtype == np.uint8:
            photo = photo.round().clip(0, 255)
        given = {self._photo.name: np.ascontiguousarray(photo, self.dtype)}
        # Boxes come back in this size: pixels of the input, where the photo's place in it is known.
        given |= {name: np.array([self.size], dtype) for name, dtype in self._sizes.items()}
        names = [node.name for node in self._session.get_outputs()]
        try:
            values = self._session.run(names, given, options)
        except MACHINE_ERRORS:
            raise
        except Exception as error:  # its errors have no class in common
            raise RuntimeError(_first_line(error)) from error
        if not all(isinstance(part, np.ndarray) and part.dtype.kind in "fiu" for part in values):
            raise RuntimeError("an output is no tensor of numbers")
        if sum(part.size for part in values) > MAX_OUTPUT_VALUES:
            raise RuntimeError(f"the outputs hold more than {MAX_OUTPUT_VALUES} values")
        return [Output(*named) for named in zip(names, values, strict=True)]


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


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
