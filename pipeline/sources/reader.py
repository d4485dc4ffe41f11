"""Reads the compressed images and masks of samples from any source."""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from pipeline.config.job import JobConfig
from pipeline.errors import SampleError
from pipeline.sources.base import Source
from pipeline.sources.inputs import (
    FormatReader,
    Inputs,
    MaskPart,
    Sample,
    file_of,
    mask_bytes,
    read_file,
    readable,
    too_many_bytes,
)
from pipeline.sources.linked import LinkedFiles
from pipeline.sources.registry import SOURCE_FORMATS
from pipeline.sources.versions import checked, mask_version_of
from pipeline.sources.wanted import wanted_by
from pipeline.storage.storage import Storage
from pipeline.uris import public_uri, scheme_of
from pipeline.verdicts.files import DamagedReviewsError, read_mask_of


class Reader:
    """Reads the source and the masks of a job in a worker; thread-safe.

    Args:
        config: the job.
    """

    def __init__(self, config: JobConfig) -> None:
        wanted = wanted_by(config)
        self.source = Storage(config.source.root_uri, config.storage)
        self.masks = Storage(config.mask.rules.root_uri, config.storage)
        self.sink = Storage(config.sink.uri, config.storage)
        self.max_bytes = config.limits.max_bytes
        self.place = config.mask.rules.place
        self._mask_may_miss = wanted.mask_may_miss
        self.has_mask_files = self.place.is_file
        self.is_list = config.source.rules.is_list
        self._listed_masks = LinkedFiles(wanted, self.masks, config.mask.uri)
        keep = 1 if self.place.is_shared else 0
        self._read_mask = lru_cache(keep)(self._listed_mask if self.is_list and not keep else self._mask_file)
        self._format: FormatReader = SOURCE_FORMATS.load(config.source.format).read(wanted, self.source)

    def read_all(self, samples: Sequence[Sample]) -> Iterator[Inputs | Exception]:
        """Yield each sample's inputs in order, or the exception that prevented reading them.

        A ``SampleError`` means that no worker can read the sample, an ``OSError`` that the storage does not answer.
        """
        unread = [sample for sample in samples if self._refusal(sample) is None]
        readable = zip(self._format.read_all(unread), self._masks_of(unread), strict=True)
        for sample in samples:
            refusal = self._refusal(sample)
            if refusal is not None:
                yield refusal
                continue
            inputs, mask = next(readable)
            if isinstance(inputs, Exception):
                yield inputs
                continue
            if isinstance(mask, Exception):
                yield mask
                continue
            if mask is not None:
                inputs = Inputs(inputs.image, mask, inputs.carried, sample["mask_review"] is not None)
            size_bytes = len(inputs.image) + mask_bytes(inputs.mask)  # of a row the plan knows only the average
            yield too_many_bytes(size_bytes, self.max_bytes) or inputs

    def image_uri(self, sample: Sample) -> str:
        """Return the uri of the file that holds a sample, without secrets."""
        return _uri(self.source, file_of(sample), self.is_list and sample["file"] is not None)

    def mask_uri(self, sample: Sample) -> str | None:
        """Return the uri of the file of a sample's mask, its annotations or its review; ``None`` if in the source.

        Of several mask files it is a list as JSON.
        """
        if sample["mask_review"] is not None:
            return self.sink.uri(sample["mask_review"])
        is_outside = self.has_mask_files or (sample["mask_spec"] is not None and not self.place.box_column)
        if sample["mask_key"] is None or not is_outside:
            return None
        if self.has_mask_files and sample["mask_spec"] is not None:
            keys = [part["key"] for part in json.loads(sample["mask_spec"])]
            uris = [_uri(self.masks, key, bool(self.place.path_column)) for key in keys]
            return json.dumps(uris, ensure_ascii=False)
        return _uri(self.masks, sample["mask_key"], bool(self.place.path_column))

    def _mask_file(self, key: str, version: str, size_bytes: int) -> bytes:
        return read_file("mask", self.masks, key, version, size_bytes=size_bytes)

    def _listed_mask(self, key: str, version: str, size_bytes: int) -> bytes:
        read = self._listed_masks.read if self.place.path_column else self._listed_masks.read_key
        return read("mask", key, checked(version), size_bytes)

    def _refusal(self, sample: Sample) -> SampleError | None:
        """Return the error of a sample that must not be read, or ``None``."""
        if sample["fault"]:
            kind, _, message = sample["fault"].partition(": ")
            return SampleError("read", kind, message)
        return too_many_bytes(sample["size_bytes"], self.max_bytes)

    def _masks_of(self, samples: Sequence[Sample]) -> Iterator[bytes | tuple[MaskPart, ...] | Exception | None]:
        """Return the storage of masks outside the source; ``None`` for masks inside."""
        return self.masks.in_parallel(self._mask_of, samples)

    def _corrected_mask(self, sample: Sample) -> bytes | Exception:
        key = sample["mask_review"]
        try:
            with readable("mask", self.sink, key):
                return read_mask_of(self.sink, key, sample["sample_id"])
        except (DamagedReviewsError, LookupError) as error:
            message = f"the corrected mask cannot be read from {self.sink.uri(key)}: {error}"
            return SampleError("mask", "BrokenReview", message)
        except Exception as error:  # noqa: BLE001 - raised where its sample is dealt with
            return error

    def _mask_of(self, sample: Sample) -> bytes | tuple[MaskPart, ...] | Exception | None:
        if sample["mask_review"] is not None:
            return self._corrected_mask(sample)
        if sample["mask_key"] is None:
            if self._mask_may_miss:
                return ()
            where = self.masks if self.place.is_outside else "its source"
            return SampleError("mask", "MissingMask", f"no mask for {sample['sample_id']} in {where}")
        if not self.has_mask_files:
            return None if sample["mask_spec"] is None else sample["mask_spec"].encode()
        try:
            if sample["mask_spec"] is not None:
                return tuple(map(self._part, json.loads(sample["mask_spec"])))
            version = mask_version_of(sample["input_version"])
            return self._read_mask(sample["mask_key"], version, sample["mask_bytes"] or 0)
        except Exception as error:  # noqa: BLE001 - raised where its sample is dealt with
            return error

    def _part(self, file: Mapping[str, Any]) -> MaskPart:
        """Read one of several masks, as the plan has listed it."""
        return MaskPart(file["key"], self._read_mask(file["key"], file["version"], file["size_bytes"] or 0))


def _uri(storage: Storage, key: str, may_be_uri: bool) -> str:
    return public_uri(key) if may_be_uri and scheme_of(key) else storage.uri(key)


def open_source(config: JobConfig, storage: Storage) -> Source:
    """Create the finder of samples of a job's source."""
    source: Source = SOURCE_FORMATS.load(config.source.format).find(wanted_by(config), storage)
    return source
