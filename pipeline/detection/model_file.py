"""Reads ONNX files, which must hold all of their weights."""

import hashlib
from pathlib import Path

from pipeline.detection.external import has_external_data
from pipeline.errors import ConfigError
from pipeline.storage.files import MAX_FILE_BYTES

ONE_FILE = "python -c \"import onnx; onnx.save(onnx.load('in.onnx'), 'out.onnx')\""


def read_model(path: Path, sha256: str | None = None, key: str = "mask.model") -> bytes:
    """Read a model.

    Args:
        path: of the file.
        sha256: that it must have, in hexadecimal digits; ``None``: any.
        key: of the setting, with which messages begin.

    Raises:
        ConfigError: there is no such file, its hash is another, or it is no ONNX model in one file.
    """
    try:
        if not path.is_file() and path.exists():
            raise ConfigError(f"{key}: {path} is no file")  # but a device, which may have no end
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ConfigError(f"{key}: {path} has more than {MAX_FILE_BYTES} bytes, so it is no ONNX model in one file")
        model = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{key}: cannot read {path}: {error.strerror}") from error
    if sha256 and hashlib.sha256(model).hexdigest() != sha256:
        raise ConfigError(f"{key}: {path} is another file than the one with the SHA-256 {sha256}")
    try:
        is_split = has_external_data(model)
    except ValueError as error:
        raise ConfigError(f"{key}: {path} is no ONNX model: {error}") from error
    if is_split:
        raise ConfigError(f"{key}: {path} keeps weights in other files, which are not read; join them: {ONE_FILE}")
    return model
