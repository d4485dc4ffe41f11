"""The inputs of a sample, and how those in files of their own are read."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import pyarrow as pa

from pipeline.errors import AccessError, SampleError
from pipeline.sources.versions import file_version_of
from pipeline.sources.wanted import Wanted
from pipeline.storage.errors import FileChangedError
from pipeline.storage.storage import Storage

ONE_REQUEST_BYTES = 32 << 20  # a larger file is read in parts
NOTHING_CARRIED = pa.record_batch([], schema=pa.schema([]))
Sample = Mapping[str, Any]  # with the fields of ``SAMPLE_SCHEMA``


@dataclass(frozen=True)
class MaskPart:
    """One of the masks of a sample.

    Args:
        name: for messages.
        data: the compressed mask.
    """

    name: str
    data: bytes


@dataclass(frozen=True)
class Inputs:
    """The stored inputs of a sample.

    Args:
        image: the compressed image.
        mask: the compressed mask, or the text of annotations; empty if the image contains it. Several masks, or none,
            are a tuple.
        carried: other columns or members for the result, as one row.
        is_corrected: the mask is a corrected one, from a review: a picture, whatever the kind of masks is.
    """

    image: bytes
    mask: bytes | tuple[MaskPart, ...]
    carried: pa.RecordBatch = field(default_factory=lambda: NOTHING_CARRIED)
    is_corrected: bool = False


def mask_bytes(mask: bytes | tuple[MaskPart, ...]) -> int:
    """Return the compressed size of the masks of a sample."""
    return len(mask) if isinstance(mask, bytes) else sum(len(part.data) for part in mask)


def file_of(sample: Sample) -> str:
    """Return the key of the file that holds a sample."""
    return sample["file"] or sample["sample_id"]


def file_version(sample: Sample) -> str:
    """Return the listed version of that file, without the parts for the number of samples and the mask."""
    return file_version_of(sample["input_version"])


def too_many_bytes(size_bytes: int, limit_bytes: int) -> SampleError | None:
    """Return the error of a sample whose image and mask exceed the limit of bytes, or ``None``."""
    if size_bytes <= limit_bytes:
        return None
    message = f"image and mask have {size_bytes} bytes, limits.max_bytes={limit_bytes}"
    return SampleError("read", "TooManyBytes", message)


class FormatReader(Protocol):
    """Reads the inputs of samples that are in the source."""

    def read_all(self, samples: Sequence[Sample]) -> Iterator[Inputs | Exception]:
        """Yield each sample's inputs in order (the mask may be empty), or the exception that prevented reading them."""


class FileReader:
    """Reads samples that are one file each."""

    def __init__(self, wanted: Wanted, storage: Storage) -> None:
        self.storage = storage

    def read_all(self, samples: Sequence[Sample]) -> Iterator[Inputs | Exception]:
        """See :class:`FormatReader`."""
        return self.storage.in_parallel(self._read, samples)

    def _read(self, sample: Sample) -> Inputs | Exception:
        try:
            key, version = file_of(sample), file_version(sample)
            size_bytes = sample["size_bytes"] - (sample["mask_bytes"] or 0)
            return Inputs(read_file("read", self.storage, key, version, size_bytes=size_bytes), b"")
        except Exception as error:  # noqa: BLE001 - raised where its sample is dealt with
            return error


def read_file(
    stage: str,
    storage: Storage,
    key: str,
    version: str | None,
    span: tuple[int, int] | None = None,
    size_bytes: int = 0,
) -> bytes:
    """Read a file, of a known size if not 0, or a part of it; raises as :func:`readable` does."""
    with readable(stage, storage, key):
        if span is None and size_bytes > ONE_REQUEST_BYTES and not storage.is_local:
            span = (0, storage.stat(key).size_bytes)
        return storage.read(key, version or None, span, size_bytes or None)


@contextlib.contextmanager
def readable(stage: str, storage: Storage, key: str) -> Iterator[None]:
    """Translate errors of reading a file.

    Raises:
        AccessError: the file is missing, replaced since it was listed, or not permitted.
        SampleError: its name is invalid.
        OSError: the storage does not answer.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise AccessError(stage, "FileNotFound", f"{storage.uri(key)} does not exist, or was deleted") from error
    except FileChangedError as error:
        message = f"{storage.uri(key)} was replaced after it was listed; the next run processes it again"
        raise AccessError(stage, "FileChanged", message) from error
    except PermissionError as error:
        raise AccessError(stage, "PermissionDenied", f"no permission to read {storage.uri(key)}") from error
    except pa.ArrowException:
        raise  # of what is in the file, not of its name, although some are a ValueError
    except ValueError as error:
        message = f"{error}; names with .., backslashes or invalid UTF-8 are refused; rename the file"
        raise SampleError(stage, "UnusableName", message) from error
