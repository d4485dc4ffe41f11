"""``detect``: objects that ONNX models find in the image."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pipeline.config.mask import MaskConfig
from pipeline.errors import ConfigError
from pipeline.extras import check_extra
from pipeline.masks.base import LOCATIONS
from pipeline.masks.detected import DetectorMasks


class DetectedMasks(DetectorMasks):
    """Objects that any of the models of ``mask.model`` finds (the extra ``detect``)."""

    indifferent = (*LOCATIONS, "model", "device")

    def check(self, source_format: str) -> None:
        """See :class:`pipeline.masks.base.MaskKind`."""
        super().check(source_format)
        self._require_model()

    def check_installed(self) -> None:
        """See :class:`pipeline.masks.base.MaskKind`."""
        self._require_model()
        check_extra("detect", "mask.kind=detect")

    def _require_model(self) -> None:
        if not self.config.model:
            raise ConfigError("mask.kind=detect needs mask.model, an ONNX file")

    def check_pinned(self) -> None:
        """See :class:`pipeline.masks.base.MaskKind`."""
        if not self.config.model_sha256:
            raise RuntimeError("the files of mask.model have not been hashed")

    def fetch(self, storage_options: Mapping[str, Any]) -> MaskConfig:
        """See :class:`pipeline.masks.base.MaskKind`."""
        from pipeline.detection.detector import open_detector
        from pipeline.storage.files import fetch_file, sha256_of

        self.check_installed()
        config = self.config
        paths = [fetch_file(uri, storage_options, "mask.model") for uri in config.model]
        hashes = [sha256_of(path, "mask.model") for path in paths]
        for uri, found, wanted in zip(config.model, hashes, config.model_sha256 or hashes, strict=True):
            if found != wanted.lower():
                raise ConfigError(f"{uri} has the SHA-256 {found} on this machine, mask.model_sha256 is {wanted}")
        fetched = replace(config, model=[str(path) for path in paths], model_sha256=hashes)
        open_detector(fetched)
        return fetched
