"""Models and fills without a model, measured on photos whose truth is known."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from moebius.inference.inpainter import Cost, Inpainter
from moebius.inference.settings import InpaintSettings
from pipeline.config.job import MaskConfig
from pipeline.evaluation.baselines import BASELINES
from pipeline.evaluation.masks import MASKS, draw_mask, read_hole
from pipeline.evaluation.perceptual import Perceptual
from pipeline.evaluation.photos import read_photo, read_square
from pipeline.evaluation.registry import METRICS
from pipeline.extras import check_extra
from pipeline.storage.weights import fetch_weights

FIGURES = (*METRICS, "lpips", "windows", "evaluations", "seconds")
FROM_FILES = "files"  # the kind of masks that were given

Row = dict[str, str | float]
Fill = Callable[[np.ndarray, np.ndarray, int], np.ndarray]  # photo with its hole blanked, hole, seed → filled photo


@dataclass(frozen=True)
class Method:
    """A way to fill holes.

    Args:
        fill: fills them.
        cost: counts what that takes of a model, from the hole; ``None`` without a model.
    """

    fill: Fill
    cost: Callable[[np.ndarray], Cost] | None = None


@dataclass(frozen=True)
class Case:
    """One photo, one hole, and the fill of each method.

    Args:
        photo: name of the file.
        mask_kind: key of ``MASKS``, or ``FROM_FILES``.
        truth: (H, W, 3) uint8.
        mask: (H, W) bool.
        fills: (H, W, 3) uint8 by method.
        seconds: by method.
        costs: by method that uses a model.
    """

    photo: str
    mask_kind: str
    truth: np.ndarray
    mask: np.ndarray
    fills: dict[str, np.ndarray] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    costs: dict[str, Cost] = field(default_factory=dict)

    def rows(self, perceptual: Perceptual | None = None) -> Iterator[Row]:
        """Figures of each method, measured inside the hole; LPIPS over the whole photo, where it is to be had."""
        for method, filled in self.fills.items():
            row: Row = {
                "photo": self.photo,
                "mask": self.mask_kind,
                "method": method,
                "mask_fraction": float(self.mask.mean()),
                **{name: metric.measure(self.truth, filled, self.mask) for name, metric in METRICS.items()},
                "seconds": self.seconds[method],
            }
            if cost := self.costs.get(method):
                row |= asdict(cost)
            if perceptual is not None:
                row["lpips"] = perceptual.lpips(self.truth, filled)
                perceptual.add(self.mask_kind, method, self.truth, filled)
            yield row


def check_installed() -> None:
    """Check that the packages of the extra are installed, before anything is computed.

    Raises:
        ConfigError: packages are missing.
    """
    check_extra("evaluate", "evaluate")


def open_methods(weights: Sequence[str], settings: InpaintSettings, baselines: Sequence[str]) -> dict[str, Method]:
    """Open the methods by name: baselines first, then each model by the name of its weights."""
    methods = {name: Method(_without_seed(BASELINES[name])) for name in baselines}
    for name in weights:
        denoiser, vae = fetch_weights(name, {}).load()
        methods[name] = _model(Inpainter(denoiser, vae, settings))
    return methods


def evaluate(
    photos: Sequence[Path],
    kinds: Sequence[str | Path],
    methods: Mapping[str, Method],
    seed: int,
    max_pixels: int,
    side_px: int | None = None,
    mask: MaskConfig | None = None,
) -> Iterator[Case]:
    """Blank a hole of each kind in each photo and let every method fill it; none sees what was there.

    Args:
        photos: files; larger ones are scaled down first.
        kinds: keys of ``MASKS``, or files of masks.
        methods: see :func:`open_methods`.
        seed: of the masks and of the models.
        max_pixels: of a photo as it is measured.
        side_px: side of the square that is cut from a photo instead, and scaled.
        mask: how the values of mask files are read, if not by default.

    Raises:
        ConfigError: a photo or mask that cannot be read, or is too small to measure.
    """
    for path in photos:
        truth = read_photo(path, max_pixels) if side_px is None else read_square(path, side_px)
        for kind in kinds:
            if isinstance(kind, Path):
                case = Case(
                    path.name, FROM_FILES, truth, read_hole(kind, truth.shape[0], truth.shape[1], mask or MaskConfig())
                )
            else:
                case = Case(path.name, kind, truth, draw_mask(kind, path.name, seed, *truth.shape[:2]))
            blanked = BASELINES["mean"](truth, case.mask)
            for name, method in methods.items():
                started = time.perf_counter()
                case.fills[name] = method.fill(blanked, case.mask, seed)
                case.seconds[name] = time.perf_counter() - started
                if method.cost:
                    case.costs[name] = method.cost(case.mask)
            yield case


def summarise(rows: Sequence[Mapping[str, str | float]], perceptual: Perceptual | None = None) -> list[Row]:
    """Means over photos, one row for each kind of mask and method, in the order they came."""
    groups: dict[tuple[str, str], list[Mapping[str, str | float]]] = {}
    for row in rows:
        groups.setdefault((str(row["mask"]), str(row["method"])), []).append(row)
    means: list[Row] = []
    for (kind, method), members in sorted(groups.items(), key=lambda group: [*MASKS, FROM_FILES].index(group[0][0])):
        mean: Row = {"mask": kind, "method": method, "photos": len(members)}
        for name in FIGURES:
            if name in members[0]:
                mean[name] = float(np.mean([member[name] for member in members]))
        if perceptual is not None:
            mean["fid"] = perceptual.fid(kind, method)
        means.append(mean)
    return means


def _without_seed(fill: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Fill:
    return lambda image, mask, seed: fill(image, mask)


def _model(inpainter: Inpainter) -> Method:
    return Method(lambda image, mask, seed: inpainter([image], [mask], [seed])[0], inpainter.cost)
