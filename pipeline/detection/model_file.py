"""Reads ONNX files, which must hold all of their weights."""

import hashlib
from pathlib import Path

from pipeline.detection.external import has_external_data
from pipeline.errors import ConfigError

MAX_BYTES = (2 << 30) - 1  # of a message of protocol buffers
ONE_FILE = "python -c \"import onnx; onnx.save(onnx.load('in.onnx'), 'out.onnx')\""


def read_model(path: Path, sha256: str) -> bytes:
    """Read a model.

    Args:
        path: of the file.
        sha256: that it must have, in hexadecimal digits.

    Raises:
        ConfigError: there is no such file, its hash is another, or it is no ONNX model in one file.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(f"mask.model: {path} has more than {MAX_BYTES} bytes, so it is no ONNX model in one file")
        model = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"mask.model: cannot read {path}: {error.strerror}") from error
    if hashlib.sha256(model).hexdigest() != sha256:
        raise ConfigError(f"mask.model: {path} is another file than the one with the SHA-256 {sha256}")
    try:
        is_split = has_external_data(model)
    except ValueError as error:
        raise ConfigError(f"mask.model: {path} is no ONNX model: {error}") from error
    if is_split:
        raise ConfigError(f"mask.model: {path} keeps weights in other files, which are not read; join them: {ONE_FILE}")
    return model
