"""The configuration of a job as frozen dataclasses; the keys are those of ``conf/*.yaml``."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

from moebius.inference.settings import InpaintSettings
from moebius.network.config import MoebiusConfig
from pipeline.config.deciding import SCHEDULING, deciding, deciding_of_mask
from pipeline.config.limits import LimitsConfig
from pipeline.config.mask import MaskConfig
from pipeline.config.model import ModelConfig, WindowConfig
from pipeline.config.run import RunConfig
from pipeline.config.sink import SinkConfig
from pipeline.config.source import SourceConfig
from pipeline.config.values import as_extension
from pipeline.config.verify import MASK, VerifyConfig, described
from pipeline.containers import KEEP
from pipeline.errors import ConfigError

_ONE_KIND = ("columns", "where", "class_names")  # keys of masks that most kinds have no use for


@dataclass(frozen=True)
class JobConfig:
    """One inpainting job.

    Args:
        storage: Options of fsspec, such as ``endpoint_url``, see [storage](../how-to/storage.md#storage). Prefer the
            environment for credentials.
    """

    source: SourceConfig = field(default_factory=SourceConfig)
    mask: MaskConfig = field(default_factory=MaskConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    window: WindowConfig = field(default_factory=WindowConfig)
    sink: SinkConfig = field(default_factory=SinkConfig)
    run: RunConfig = field(default_factory=RunConfig)
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    verify: VerifyConfig = field(default_factory=VerifyConfig)
    storage: dict[str, Any] = field(default_factory=dict, repr=False)  # may hold secrets

    def __post_init__(self) -> None:
        try:
            _ = self.inpaint_settings
        except ValueError as error:
            section = "window" if str(error).split()[0] in WindowConfig.__dataclass_fields__ else "model"
            raise ConfigError(f"{section}.{error}") from error
        for part in self.mask.parts:
            for key in _ONE_KIND:
                if getattr(part, key) and key not in part.rules.own_keys:
                    raise ConfigError(f"mask.{key} has no meaning for mask.kind={part.kind}")
            part.rules.check(self.source.format)
        _ = self.verifying_detector
        if self.source.rules.has_members:
            carried = [as_extension(name) for name in self.sink.carry]
            object.__setattr__(self, "sink", replace(self.sink, carry=carried))
        has_more = self.source.rules.is_sharded or self.source.rules.is_list
        if self.sink.carry and not (has_more and self.sink.is_sharded):
            raise ConfigError("sink.carry needs a sink of shards, and a source that has columns or members")

    @property
    def inpaint_settings(self) -> InpaintSettings:
        """Return the settings of the model, windows included."""
        return InpaintSettings.among({**vars(self.model), **vars(self.window)})

    def for_weights(self, recommended: MoebiusConfig) -> "JobConfig":
        """Return the configuration with the recommendations of weights in place of ``auto``.

        So fingerprints, and with them results, are those of the same number written out.
        """
        if self.model.guidance != "auto":
            return self
        return replace(self, model=replace(self.model, guidance=recommended.guidance))

    @property
    def verifying_detector(self) -> MaskConfig | None:
        """Return the detector that looks at results, see :meth:`VerifyConfig.detector`."""
        return self.verify.detector(self.mask)

    def with_detectors(self, change: Callable[[MaskConfig], MaskConfig]) -> "JobConfig":
        """Return the job with a change made to its masks and to the detector that verifies results."""
        verify, detector = self.verify, self.verifying_detector
        if detector and verify.model != MASK:
            verify = replace(verify, model=described(change(detector)))
        mask = replace(change(self.mask), also=[change(part) for part in self.mask.also])
        return replace(self, mask=mask, verify=verify)

    @cached_property
    def fingerprint(self) -> str:
        """Identity of everything but the weights that decides a result; places, limits and scheduling do not.

        Masks that a detector finds have one only after :func:`pipeline.masks.base.pinned`, and ``auto`` says nothing
        before :meth:`for_weights`.
        """
        for part in self.mask.parts:
            part.rules.check_pinned()
        assert self.model.guidance != "auto"
        parts: dict[str, Any] = {
            "mask": deciding_of_mask(self.mask),
            "model": deciding(self.model, SCHEDULING),
            "window": deciding(self.window, ()),
            "image_format": self.sink.image_format,
            "sink": (self.sink.format, self.sink.carry),
        }
        if self.mask.also:
            parts["also"] = [deciding_of_mask(part) for part in self.mask.also]
        if self.sink.metadata != KEEP:
            parts["metadata"] = self.sink.metadata
        if self.sink.c2pa:
            parts["signed"] = True  # with whichever certificate: these are renewed
        if self.source.image:
            parts["image"] = self.source.image
        if detector := self.verifying_detector:
            detector.rules.check_pinned()
            parts["verify"] = asdict(self.verify) | {"model": deciding_of_mask(detector)}
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
