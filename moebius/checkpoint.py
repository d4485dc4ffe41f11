"""Files of tensors: read without running pickled code, written whole, checked against a model's entries."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor


class CheckpointError(ValueError):
    """The checkpoint cannot be read or does not fit the model."""


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Read a state dict from ``.safetensors``, or from a ``torch.save``d file without running pickled code.

    Raises:
        CheckpointError: no such file, or a file that is not a state dict.
    """
    state_dict = read_checkpoint(path)
    if not isinstance(state_dict, dict) or not all(isinstance(value, Tensor) for value in state_dict.values()):
        raise CheckpointError(f"{path} must hold one flat state dict of tensors")
    return state_dict


def read_checkpoint(path: str | Path) -> Any:
    """Read a file of tensors, however nested; pickled code is refused, not run.

    Raises:
        CheckpointError: no such file, or an unreadable one.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {path}")
    try:
        return load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(f"{path} is not a readable checkpoint: {_fault(error)}") from error


def _fault(error: Exception) -> str:
    """Describe a fault: PyTorch's messages tell how to run the code, or are empty."""
    if isinstance(error, UnpicklingError):
        return "it must hold tensors, and no code"
    if isinstance(error, PermissionError):
        return "no permission"
    return f"it is cut short or damaged ({type(error).__name__})"


def write_state_dict(state_dict: Mapping[str, Tensor], path: str | Path) -> None:
    """Write ``.safetensors``, or the ``torch.save`` format of published checkpoints for any other suffix.

    Raises:
        OSError: the disk is full, for instance; the old file is still there.
    """
    if Path(path).suffix == ".safetensors":
        with written_whole(path) as partial, _as_os_error(SafetensorError, path):
            save_file({key: value.contiguous() for key, value in state_dict.items()}, partial)
    else:
        write_checkpoint(dict(state_dict), path)


def write_checkpoint(content: Any, path: str | Path) -> None:
    """Write tensors, however nested, in the format of ``torch.save``.

    Raises:
        OSError: see :func:`write_state_dict`.
    """
    with written_whole(path) as partial, _as_os_error(RuntimeError, path):
        torch.save(content, partial)


@contextmanager
def _as_os_error(theirs: type[Exception], path: str | Path) -> Iterator[None]:
    try:
        yield
    except theirs as error:
        raise OSError(f"cannot write {path}, is the disk full? ({type(error).__name__})") from error


@contextmanager
def written_whole(path: str | Path) -> Iterator[Path]:
    """Yield a temporary name to write to, then rename it, so that a kill leaves the whole old or the whole new file."""
    partial = Path(f"{path}.partial")
    try:
        partial.touch()
        mode = partial.stat().st_mode
        yield partial
        partial.chmod(mode)  # safetensors lets only the owner read, and workers may be other users
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def check_entries(state_dict: Mapping[str, Tensor], expected: Mapping[str, Tensor], refusal: str) -> None:
    """Refuse a state dict that does not hold exactly the entries of a model.

    Args:
        state_dict: the entries that were read.
        expected: the model's entries by the same keys; only their shapes are compared.
        refusal: beginning of the error message.

    Raises:
        CheckpointError: keys or shapes that differ; the message lists them.
    """
    faults = [_listing("missing", expected.keys() - state_dict.keys())]
    faults += [_listing("unexpected", state_dict.keys() - expected.keys())]
    faults += [
        f"{key} is {tuple(state_dict[key].shape)}, expected {tuple(value.shape)}"
        for key, value in expected.items()
        if key in state_dict and state_dict[key].shape != value.shape
    ][:5]
    if any(faults):
        raise CheckpointError(f"{refusal}: " + "; ".join(filter(None, faults)))


def computable(value: Tensor) -> Tensor:
    """Return a value in float32 where it is stored in 16 bits: the caller chooses the type to compute in."""
    return value.float() if value.dtype in (torch.float16, torch.bfloat16) else value


def _listing(what: str, keys: set[str]) -> str:
    shown = ", ".join(sorted(keys)[:5])
    return f"{len(keys)} {what} keys ({shown}{', …' if len(keys) > 5 else ''})" if keys else ""
