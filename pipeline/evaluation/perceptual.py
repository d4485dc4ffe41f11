"""LPIPS and FID of torchmetrics, with weights from a folder on this machine: nothing is fetched."""

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipeline.errors import ConfigError
from pipeline.evaluation.case import Case
from pipeline.extras import check_extra

VGG = "vgg16-397923af.pth"  # of torchvision
INCEPTION = "weights-inception-2015-12-05-6726825d.pth"  # of torch-fidelity
FEATURES = 2048
MIN_PHOTOS = 2  # for FID
SUMS = tuple(f"{side}_features_{part}" for side in ("real", "fake") for part in ("sum", "cov_sum", "num_samples"))

Sums = dict[tuple[str, str], list[np.ndarray]]  # by kind of mask and method, in the order of ``SUMS``


class Perceptual:
    """Distances that networks trained on photographs measure, over whole photos.

    Args:
        folder: of torch.hub, with ``checkpoints/`` in it.

    Raises:
        ConfigError: packages or weights are missing.
    """

    def __init__(self, folder: Path) -> None:
        check_extra("perceptual", "--hub")
        files = [folder / "checkpoints" / name for name in (VGG, INCEPTION)]
        if absent := [str(file) for file in files if not file.is_file()]:
            raise ConfigError(
                f"--hub needs the weights of LPIPS (VGG-16, of torchvision) and FID (Inception, of torch-fidelity); "
                f"put them at {' and '.join(absent)}"
            )
        from torchmetrics.image import LearnedPerceptualImagePatchSimilarity

        torch.hub.set_dir(str(folder))  # where torchvision looks before it would fetch
        self.inception = str(files[1])
        self.lpips_metric = LearnedPerceptualImagePatchSimilarity(net_type="vgg")
        self.fid_metrics: defaultdict[tuple[str, str], Any] = defaultdict(self._new_fid)

    def _new_fid(self) -> Any:
        from torchmetrics.image import FrechetInceptionDistance

        return FrechetInceptionDistance(feature=FEATURES, feature_extractor_weights_path=self.inception)

    @torch.no_grad()
    def measure(self, case: Case) -> Mapping[str, Mapping[str, float]]:
        """See :class:`pipeline.evaluation.networks.NetworkMetrics`: LPIPS of whole photos."""
        truth = _batch(case.truth)
        figures = {}
        for method, filled in case.fills.items():
            ours, theirs = truth.float() / 127.5 - 1, _batch(filled).float() / 127.5 - 1
            figures[method] = {"lpips": float(self.lpips_metric(ours, theirs))}
            self.lpips_metric.reset()
            metric = self.fid_metrics[case.mask_kind, method]
            metric.update(truth, real=True)
            metric.update(_batch(filled), real=False)
        return figures

    def state(self) -> Sums:
        """See :class:`pipeline.evaluation.networks.NetworkMetrics`: the sums of FID."""
        return {key: [getattr(metric, name).numpy() for name in SUMS] for key, metric in self.fid_metrics.items()}

    def merge(self, state: Sums) -> None:
        """See :class:`pipeline.evaluation.networks.NetworkMetrics`."""
        for key, values in state.items():
            metric = self.fid_metrics[key]
            metric.orig_dtype, metric._update_count = torch.float32, 1  # what its own update would note
            for name, value in zip(SUMS, values, strict=True):
                setattr(metric, name, getattr(metric, name) + torch.tensor(value))

    def of_set(self, kind: str, method: str) -> Mapping[str, float]:
        """See :class:`pipeline.evaluation.networks.NetworkMetrics`: FID, of at least two photos."""
        metric = self.fid_metrics[kind, method]
        if metric.real_features_num_samples < MIN_PHOTOS:  # of the others there is no fill
            return {}
        return {"fid": float(metric.compute())}

    def notes(self) -> list[str]:
        """See :class:`pipeline.evaluation.networks.NetworkMetrics`."""
        few = [key for key, metric in self.fid_metrics.items() if metric.real_features_num_samples < MIN_PHOTOS]
        return [
            f"fid is left out for {method} ({kind}): it filled fewer than {MIN_PHOTOS} photos" for kind, method in few
        ]


def _batch(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None]
