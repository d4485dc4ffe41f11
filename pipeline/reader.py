"""First stage: read the compressed images and masks of a unit."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.config import JobConfig
from pipeline.errors import SampleError
from pipeline.records import SAMPLE_SCHEMA
from pipeline.storage import Storage

IO_THREADS = 8  # requests under way at once in one task
READ_TYPE = pa.struct(
    [
        *SAMPLE_SCHEMA,
        ("image", pa.large_binary()),
        ("mask", pa.large_binary()),
        ("error_stage", pa.string()),
        ("error_type", pa.string()),
        ("error_message", pa.string()),
    ]
)
_ADDED = [READ_TYPE.field(index) for index in range(len(SAMPLE_SCHEMA), READ_TYPE.num_fields)]


def read_units(batch: pa.Table, config: JobConfig, give_back: bool) -> pa.Table:
    """Add the bytes of image and mask, or the reason why there are none, to every sample of every unit.

    Args:
        batch: column ``samples``, a list a unit of structs with the fields of ``SAMPLE_SCHEMA``.
        config: the job.
        give_back: leave the unit to a later pass, rather than fail a sample, when the storage does not answer.

    Returns:
        Column ``samples``, a list of ``READ_TYPE`` a unit.

    Raises:
        OSError: the storage does not answer, and the unit is given back.
    """
    source = Storage(config.source.uri, config.storage)
    masks = Storage(config.mask.uri, config.storage)
    read_mask = lru_cache(maxsize=1)(partial(_read, "mask", masks, give_back=give_back))  # a static one only once
    read = partial(_read_sample, source=source, masks=masks, give_back=give_back, read_mask=read_mask)
    units = batch["samples"].combine_chunks()
    samples = units.flatten()
    with ThreadPoolExecutor(IO_THREADS) as threads:
        found = list(threads.map(read, samples.to_pylist()))
    added = [pa.array([columns.get(field.name) for columns in found], field.type) for field in _ADDED]
    structs = pa.StructArray.from_arrays([*samples.flatten(), *added], fields=list(READ_TYPE))
    offsets = np.concatenate([[0], np.cumsum(units.value_lengths())])
    return pa.table({"samples": pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), structs)})


def _read_sample(
    sample: dict[str, Any], source: Storage, masks: Storage, give_back: bool, read_mask: Callable[[str], bytes]
) -> dict[str, Any]:
    """The columns that reading adds to a sample."""
    try:
        image = _read("read", source, sample["sample_id"], give_back)
        if sample["mask_key"] is None:
            raise SampleError("mask", "MissingMask", f"no mask for {sample['sample_id']} below {masks}")
        return {"image": image, "mask": read_mask(sample["mask_key"])}
    except SampleError as error:
        return error.columns


def _read(stage: str, storage: Storage, key: str, give_back: bool) -> bytes:
    try:
        return storage.read(key)
    except FileNotFoundError as error:
        raise SampleError(stage, "FileNotFound", f"{storage.uri(key)} is gone since it was listed") from error
    except PermissionError as error:
        raise SampleError(stage, "PermissionDenied", f"no permission to read {storage.uri(key)}") from error
    except ValueError as error:
        message = f"{error}; names with backslashes or not in UTF-8 are not taken, rename the file"
        raise SampleError(stage, "UnusableName", message) from error
    except OSError as error:
        if give_back:
            raise
        raise SampleError.wrap(stage, error) from error
