"""The section ``limits`` of a configuration."""

from dataclasses import dataclass

from pipeline.config.values import choose
from pipeline.errors import ConfigError


@dataclass(frozen=True)
class LimitsConfig:
    """Bounds on inputs, time and failures.

    Args:
        max_pixels: pixels of an image or a mask, checked before decoding.
        max_bytes: bytes of a compressed image with its mask, checked before reading.
        max_failed_fraction: share of all samples that may fail; above it the exit code is 3.
        sample_s: seconds that one step of a sample (decoding, encoding, a window in the model) may take; a step that
            takes longer is retried once, and then fails the sample as ``TimedOut``.
        stall_s: seconds after which the job ends when workers complete no step of any sample and meet only faults of
            their environment (storage, credentials, devices); the same command finishes the rest.
        suspicious: treatment of fills of one flat colour, black or white: ``keep`` them, marked in the manifest, or
            ``fail`` their samples.
    """

    max_pixels: int = 200_000_000
    max_bytes: int = 500_000_000
    max_failed_fraction: float = 0.05
    sample_s: float = 600.0
    stall_s: float = 600.0
    suspicious: str = "keep"

    def __post_init__(self) -> None:
        for key in ("max_pixels", "max_bytes"):
            if getattr(self, key) < 1:
                raise ConfigError(f"limits.{key} must be positive, got {getattr(self, key)}")
        for key in ("sample_s", "stall_s"):
            if not getattr(self, key) > 0:
                raise ConfigError(f"limits.{key} must be positive, got {getattr(self, key)}")
        if not 0 <= self.max_failed_fraction <= 1:
            raise ConfigError(f"limits.max_failed_fraction must be in 0 … 1, got {self.max_failed_fraction}")
        choose("limits.suspicious", self.suspicious, ("keep", "fail"))
