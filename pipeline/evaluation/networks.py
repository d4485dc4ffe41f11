"""The interface of metrics that trained networks measure, and those that this machine has."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from pipeline.errors import ConfigError
from pipeline.evaluation.case import Case
from pipeline.extras import check_extra, install_command, missing_packages


class NetworkMetrics(Protocol):
    """Distances that a network measures, of each fill and between the sets of all fills and all photos."""

    def measure(self, case: Case) -> Mapping[str, Mapping[str, float]]:
        """Return the figures of each fill by method, and keep what the distances between sets need."""

    def state(self) -> Any:
        """Return what was kept, for :meth:`merge` in another process."""

    def merge(self, state: Any) -> None:
        """Add what another process has kept."""

    def of_set(self, kind: str, method: str) -> Mapping[str, float]:
        """Return the distances between all fills of a method on a kind of mask and the photos."""

    def notes(self) -> Sequence[str]:
        """Return sentences on what is left out, and why."""


def check_features(asked: bool | None) -> bool:
    """Return whether features are compared: by default if their package is installed.

    Args:
        asked: whether the user wants them; ``None`` if nothing was said.

    Raises:
        ConfigError: they are wanted, and the package is missing.
    """
    if asked:
        check_extra("features", "--features")
    return not missing_packages("features") if asked is None else asked


def features_note(asked: bool | None) -> str | None:
    """Return how to install the package of the features if only that is missing; otherwise ``None``."""
    if asked is None and missing_packages("features"):
        return f"features, statistics and kid are left out: {install_command('features')}"
    return None


def open_networks(hub: Path | None, features: bool) -> list[NetworkMetrics]:
    """Load the networks.

    Args:
        hub: folder of torch.hub, for LPIPS and FID; ``None`` without.
        features: whether to compare features of EfficientNet-Lite0.

    Raises:
        ConfigError: packages or weights are missing.
    """
    networks: list[NetworkMetrics] = []
    if hub:
        from pipeline.evaluation.perceptual import Perceptual

        networks.append(Perceptual(hub))
    if features:
        from pipeline.evaluation.features import Features

        networks.append(Features())
    return networks


def check_photos_for_sets(hub: Path | None, photos: int) -> None:
    """Check that there are photos enough for FID; raise ``ConfigError`` otherwise."""
    if hub and photos < 2:
        raise ConfigError(f"FID needs at least two photos, got {photos}")
