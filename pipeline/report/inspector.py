"""Reads the inputs of manifest rows again, for display."""

import contextlib
import hashlib
import json
from collections.abc import Collection, Mapping
from typing import Any

from pipeline.config.job import JobConfig, LimitsConfig, MaskConfig, SinkConfig, SourceConfig
from pipeline.errors import ConfigError, SampleError
from pipeline.masks.annotations import plain_name, read_annotations
from pipeline.masks.base import open_kind, tried
from pipeline.sources.inputs import Inputs
from pipeline.sources.reader import Reader, open_source
from pipeline.sources.versions import mask_version_of
from pipeline.storage.storage import Storage
from pipeline.verdicts.files import key_in

NO_LIMIT = 1 << 40  # what a job has taken is taken again


def config_of_run(sink: Storage, run_id: str, storage_options: Mapping[str, Any]) -> JobConfig:
    """Rebuild the configuration of a run from its summary; storage options must be given, as they are not stored."""
    known = json.loads(sink.read(f"runs/{run_id}.json"))["configuration"]
    return JobConfig(
        source=SourceConfig(**known["source"]),
        mask=MaskConfig(**known["mask"]),
        sink=SinkConfig(**known["sink"]),
        limits=LimitsConfig(max_pixels=NO_LIMIT, max_bytes=NO_LIMIT),
        storage=dict(storage_options),
    )


class Inspector:
    """Finds the inputs of manifest rows.

    Args:
        config: of the run that made the rows, from :func:`config_of_run`.
        sample_ids: of all rows that will be requested.

    Raises:
        ConfigError: the annotations of the masks are gone, or a package is missing.
    """

    def __init__(self, config: JobConfig, sample_ids: Collection[str]) -> None:
        kinds = [open_kind(part) for part in config.mask.parts]
        for kind in kinds:
            kind.check_installed()
        self.place, self.is_code = kinds[0].place, any(kind.is_code for kind in kinds)
        if not self.is_code:
            with contextlib.suppress(ConfigError, OSError):  # then drawing says what is missing
                config = tried(config)
        self.config, self.reader = config, Reader(config)
        self.source = open_source(config, self.reader.source)
        self.specs: dict[str, list[str]] | None = None
        if self.place.is_annotated:
            self.specs = {name: [] for name in sample_ids}
            for name, spec in read_annotations(config.mask, self.reader.masks):
                key = name if name in self.specs else plain_name(name)
                if key in self.specs:
                    self.specs[key].append(spec)

    def inputs(self, row: Mapping[str, Any]) -> Inputs:
        """Read the image and the mask of a row.

        Raises:
            SampleError: they are missing or have changed.
            OSError: the storage does not answer.
        """
        file = self.reader.source.stat(self.reader.source.key(row["input_uri"]))
        found = next((found for found in self.source.samples([file]) if found.sample_id == row["sample_id"]), None)
        if found is None:
            raise SampleError("read", "FileChanged", f"{row['sample_id']} is no longer in {row['input_uri']}")
        review = key_in(row["mask_uri"])
        sample = {
            **found._asdict(),
            "input_version": row["input_version"],
            "mask_key": "" if review else self._mask_key(row),
            "mask_bytes": None,
            "mask_spec": None if review else self._mask_spec(row),
            "mask_review": review,
            "carried": None,
        }
        (inputs,) = self.reader.read_all([sample])
        if isinstance(inputs, Exception):
            raise inputs
        return inputs

    def _mask_key(self, row: Mapping[str, Any]) -> str | None:
        is_paired = self.place.is_file and not self.place.is_shared
        if _is_several(row["mask_uri"]):
            return ""
        if row["mask_uri"] is None and (is_paired or self.specs is not None):
            return None
        return self.reader.masks.key(row["mask_uri"]) if is_paired else ""

    def _mask_spec(self, row: Mapping[str, Any]) -> str | None:
        if self.place.is_file and _is_several(row["mask_uri"]):
            return json.dumps([self._listed_mask(uri) for uri in json.loads(row["mask_uri"])])
        if self.specs is None or row["mask_uri"] is None:
            return None
        spec = f"[{','.join(sorted(self.specs[row['sample_id']]))}]"
        digest = hashlib.md5(spec.encode(), usedforsecurity=False).hexdigest()  # as ``AnnotatedMasks`` notes it
        if digest != mask_version_of(row["input_version"]):
            raise SampleError("mask", "FileChanged", f"{row['mask_uri']} has changed for this sample")
        return spec

    def _listed_mask(self, uri: str) -> dict[str, Any]:
        """Return one of several masks in the form of a plan, without a version: its present file is read."""
        masks = self.reader.masks
        return {"key": masks.key(uri) if masks.holds(uri) else uri, "version": "", "size_bytes": 0}


def _is_several(mask_uri: str | None) -> bool:
    return mask_uri is not None and mask_uri.startswith("[")
