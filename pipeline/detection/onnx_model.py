"""Opens models in memory with onnxruntime, and runs them within bounds."""

import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.errors import MACHINE_ERRORS, ConfigError

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

MAX_OUTPUT_VALUES = 1 << 28  # of all outputs together
TRIAL_S = 300.0  # for the first picture

RunModel = Callable[["InferenceSession", Mapping[str, np.ndarray]], list[np.ndarray]]


def open_model(
    model: bytes, name: str, device: str, key: str = "mask.model", device_key: str = "mask.device", threads: int = 1
) -> "InferenceSession":
    """Open a model.

    Args:
        model: the file.
        name: of the file, for messages.
        device: ``cpu`` or ``cuda``.
        key, device_key: of the settings, with which messages begin.
        threads: that compute; with one, equal inputs give equal outputs.

    Raises:
        ConfigError: onnxruntime cannot run it there.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.use_deterministic_compute, options.log_severity_level = True, 4
    providers = ["CUDAExecutionProvider"] * (device == "cuda")
    if missing := set(providers) - set(onnxruntime.get_available_providers()):
        raise ConfigError(f"{device_key}=cuda needs a GPU and the package onnxruntime-gpu; there is no {missing.pop()}")
    try:
        # Its fallback would print to standard output, and change the device unasked.
        where = {"providers": [*providers, "CPUExecutionProvider"], "enable_fallback": 0}
        session = onnxruntime.InferenceSession(model, options, **where)
    except MACHINE_ERRORS:
        raise
    except Exception as error:  # its errors have no class in common
        raise ConfigError(f"{key}: {name} is no model that this onnxruntime can run: {first_line(error)}") from error
    if providers and "CUDAExecutionProvider" not in session.get_providers():
        raise ConfigError(f"{device_key}=cuda: onnxruntime cannot use the GPU of this machine")
    return session


def run_model(session: "InferenceSession", inputs: Mapping[str, np.ndarray], options: Any = None) -> list[np.ndarray]:
    """Run a model, and return all of its outputs.

    Args:
        session: of the model.
        inputs: by name.
        options: ``onnxruntime.RunOptions``, by which another thread can end it.

    Raises:
        RuntimeError: the model fails, or its outputs are no numbers or too many.
    """
    names = [node.name for node in session.get_outputs()]
    try:
        values = session.run(names, dict(inputs), options)
    except MACHINE_ERRORS:
        raise
    except Exception as error:  # its errors have no class in common
        raise RuntimeError(first_line(error)) from error
    if not all(isinstance(part, np.ndarray) and part.dtype.kind in "fiu" for part in values):
        raise RuntimeError("an output is no tensor of numbers")
    if sum(part.size for part in values) > MAX_OUTPUT_VALUES:
        raise RuntimeError(f"the outputs hold more than {MAX_OUTPUT_VALUES} values")
    return list(values)


def try_model(session: "InferenceSession", inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """Run a model for the first time, for at most ``TRIAL_S``; see :func:`run_model`.

    Raises:
        RuntimeError: the model fails or does not end, or its outputs are no numbers or too many.
    """
    import onnxruntime

    options = onnxruntime.RunOptions()
    timer = threading.Timer(TRIAL_S, setattr, (options, "terminate", True))
    timer.daemon = True
    timer.start()
    try:
        return run_model(session, inputs, options)
    finally:
        timer.cancel()


def first_line(error: Exception) -> str:
    """Return the beginning of an error's message."""
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
