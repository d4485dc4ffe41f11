"""How results are verified: by a detector that looks at them again."""

from dataclasses import asdict, dataclass, field
from typing import Any

from pipeline.config.mask import MaskConfig
from pipeline.config.values import choose
from pipeline.detection.registry import DETECTORS
from pipeline.errors import ConfigError

RUNGS = ("dilate", "seed", "noise")
MASK, TEXT = "mask", "text"  # words of ``verify.model``


@dataclass(frozen=True)
class VerifyConfig:
    """Whether results are looked at again, and what is tried where something is left.

    Args:
        model: detector that looks at every result, in the hole and around it: ``mask`` (that of ``mask``, of the kinds
            ``text``, ``detect`` and ``python``), ``text``, ONNX files as in ``mask.model``, or keys of ``mask`` that
            describe one, such as ``{kind: detect, model: logos.onnx, score: 0.3}``; null: results are not verified.
        ladder: what is tried, one after the other, until nothing is left; each change is kept in later tries:
            ``dilate`` (unite the hole with what was found, and grow it), ``seed`` (another seed) and ``noise`` (start
            from pure noise, strength 1). The best try is kept: that with the smallest residual, then one that is not
            suspicious, then the best seam.
        dilate_px: by which ``dilate`` grows the hole on every side.
        around_px: width of the border around the hole that is looked at, too.
        max_residual: share of the hole and its border in which something may be found in a clean result, 0 … 1.
        residue: what becomes of samples in which something is left: ``keep`` the best try, with its ``residual`` in the
            manifest, or ``fail`` them as ``ResidueLeft``.
    """

    model: Any = None
    ladder: list[str] = field(default_factory=lambda: ["dilate", "seed", "noise", "seed"])
    dilate_px: int = 8
    around_px: int = 8
    max_residual: float = 0.0
    residue: str = "keep"

    def __post_init__(self) -> None:
        for rung in self.ladder:
            choose("verify.ladder: a rung", rung, RUNGS)
        for key in ("dilate_px", "around_px"):
            if getattr(self, key) < 0:
                raise ConfigError(f"verify.{key} must not be negative, got {getattr(self, key)}")
        if "dilate" in self.ladder and self.dilate_px == 0:
            raise ConfigError(
                "verify.ladder holds dilate, but verify.dilate_px is 0: the try would repeat the one before"
            )
        if not 0 <= self.max_residual < 1:
            raise ConfigError(f"verify.max_residual must be at least 0 and below 1, got {self.max_residual}")
        choose("verify.residue", self.residue, ("keep", "fail"))

    def detector(self, mask: MaskConfig) -> MaskConfig | None:
        """Return the detector as settings of masks that it would make; ``None`` where results are not verified.

        Args:
            mask: the job's masks, for ``model: mask``.

        Raises:
            ConfigError: ``model`` describes no detector.
        """
        model = self.model
        if model is None:
            return None
        if model == TEXT:
            found = MaskConfig(kind=TEXT)
        elif model == MASK:
            found, *others = [part for part in mask.parts if part.kind in DETECTORS] or [mask]
            if others:
                raise ConfigError("verify.model=mask stands for one detector, but mask has several: describe one")
        else:
            keys = model if isinstance(model, dict) else {"model": model}
            if unknown := sorted(map(str, keys - MaskConfig.__dataclass_fields__.keys())):
                raise ConfigError(f"verify.model: mask has no key {unknown[0]}")
            found = MaskConfig(**{"kind": "detect", **keys})
        if found.kind not in DETECTORS:
            raise ConfigError(
                f"verify.model must be a detector, but mask.kind={found.kind} finds nothing in pixels; "
                "use text, an ONNX file, or {kind: python, function: package.module:name}"
            )
        return found


def described(detector: MaskConfig) -> dict[str, Any]:
    """Return a detector as the keys of ``mask`` that ``verify.model`` takes."""
    usual = asdict(MaskConfig())
    return {key: value for key, value in asdict(detector).items() if key == "kind" or value != usual[key]}
