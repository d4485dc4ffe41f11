"""``python``: masks that a function of the user makes from the image."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pipeline.config.mask import MaskConfig
from pipeline.errors import ConfigError
from pipeline.masks.detected import DetectorMasks


class FunctionMasks(DetectorMasks):
    """Masks that the function of ``mask.function`` returns for an image."""

    is_code = True

    def check(self, source_format: str) -> None:
        """See :class:`pipeline.masks.base.MaskKind`."""
        super().check(source_format)
        if not self.config.function:
            raise ConfigError("mask.kind=python needs mask.function, such as package.module:function")

    def check_pinned(self) -> None:
        """See :class:`pipeline.masks.base.MaskKind`."""
        if not self.config.version:
            raise RuntimeError("the file of mask.function has not been hashed")

    def fetch(self, storage_options: Mapping[str, Any]) -> MaskConfig:
        """See :class:`pipeline.masks.base.MaskKind`."""
        from pipeline.detection.detector import open_detector
        from pipeline.detection.function import SOURCE, source_version

        config = self.config
        if config.version is None or config.version.startswith(SOURCE):
            version = source_version(config.function or "")
            if config.version not in (None, version):
                raise ConfigError(
                    f"mask.function: the file of {config.function} on this machine is another than the one that the "
                    "job was planned with; install the same on all nodes"
                )
            config = replace(config, version=version)
        open_detector(config)
        return config
