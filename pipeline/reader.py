"""Reads the compressed image and mask of a sample."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from pipeline.config import INSIDE_IMAGE, JobConfig
from pipeline.errors import SampleError
from pipeline.storage import Storage


class Reader:
    """Source and masks of a job, as a worker sees them; may be called from several threads.

    Args:
        config: the job.
    """

    def __init__(self, config: JobConfig) -> None:
        self.source = Storage(config.source.uri, config.storage)
        self.masks = Storage(config.mask.uri, config.storage)
        self.inside_image = config.mask.kind in INSIDE_IMAGE
        keep = 1 if config.mask.kind == "static" else 0  # a mask that is one for all
        self._read_mask = lru_cache(keep)(lambda key: _read("mask", self.masks, key))

    def read(self, sample: Mapping[str, Any]) -> tuple[bytes, bytes]:
        """Image and mask of a sample, with the fields of ``SAMPLE_SCHEMA``; what the image holds itself is empty.

        Raises:
            SampleError: one of them is not there, or cannot be read by anyone.
            OSError: the storage does not answer.
        """
        image = _read("read", self.source, sample["sample_id"])
        if sample["mask_key"] is None:
            raise SampleError("mask", "MissingMask", f"no mask for {sample['sample_id']} below {self.masks}")
        if sample["mask_spec"] is not None:
            return image, sample["mask_spec"].encode()
        return image, b"" if self.inside_image else self._read_mask(sample["mask_key"])

    def try_read(self, sample: Mapping[str, Any]) -> tuple[bytes, bytes] | Exception:
        """As :meth:`read`, with the exception returned: one of many requests must not end the others."""
        try:
            return self.read(sample)
        except Exception as error:  # noqa: BLE001 - raised where its sample is dealt with
            return error


def _read(stage: str, storage: Storage, key: str) -> bytes:
    try:
        return storage.read(key)
    except FileNotFoundError as error:
        raise SampleError(stage, "FileNotFound", f"{storage.uri(key)} is gone since it was listed") from error
    except PermissionError as error:
        raise SampleError(stage, "PermissionDenied", f"no permission to read {storage.uri(key)}") from error
    except ValueError as error:
        message = f"{error}; names with backslashes or not in UTF-8 are not taken, rename the file"
        raise SampleError(stage, "UnusableName", message) from error
