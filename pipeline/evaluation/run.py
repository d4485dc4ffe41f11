"""Fills holes of photos whose truth is known by every method, and measures the fills."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from pipeline.config.job import MaskConfig
from pipeline.errors import ConfigError, SampleError
from pipeline.evaluation.baselines import BASELINES
from pipeline.evaluation.case import Case, Row
from pipeline.evaluation.masks import draw_mask, read_hole
from pipeline.evaluation.memory import MB, measured_growth
from pipeline.evaluation.methods import Method, Task
from pipeline.evaluation.networks import NetworkMetrics
from pipeline.evaluation.photos import read_photo, read_square
from pipeline.evaluation.registry import METRICS
from pipeline.extras import check_extra

FROM_FILES = "files"  # the kind of masks that were given
LEAKED = 0.5  # of a hole; fills that are made never have so much of it to the bit
FLAT = 8.0  # grey levels; in holes with less variation a fill may well be equal


def check_installed() -> None:
    """Check that the packages of the extra are installed, before anything is computed.

    Raises:
        ConfigError: packages are missing.
    """
    check_extra("evaluate", "evaluate")


def blanked_cases(
    photos: Sequence[Path],
    kinds: Sequence[str | Path],
    seed: int,
    max_pixels: int,
    side_px: int | None = None,
    mask: MaskConfig | None = None,
) -> Iterator[tuple[Case, Task]]:
    """Blank a hole of each kind in each photo; yield the case without fills, and what methods get to see of it.

    Args:
        photos: files; larger ones are scaled down first.
        kinds: keys of ``MASKS``, or files of masks.
        seed: of the masks and of the models.
        max_pixels: of a photo as it is measured.
        side_px: side of the square that is cut from a photo instead, and scaled.
        mask: how the values of mask files are read, if not by default.

    Raises:
        ConfigError: a photo or mask that cannot be read, or is too small to measure.
    """
    for path in photos:
        truth = read_photo(path, max_pixels) if side_px is None else read_square(path, side_px)
        height, width = truth.shape[:2]
        for kind in kinds:
            if isinstance(kind, Path):
                name, hole = FROM_FILES, read_hole(kind, height, width, mask or MaskConfig())
            else:
                name, hole = kind, draw_mask(kind, path.name, seed, height, width)
            blanked = BASELINES["mean"](truth, hole)
            yield Case(path, name, truth, hole), Task(path.name, name, blanked, hole, seed)


def fill_case(case: Case, task: Task, methods: Mapping[str, Method]) -> None:
    """Let every method fill a hole, and put each fill into the photo: pixels outside the hole are always the photo's.

    Raises:
        ConfigError: a method returned no picture of the photo's size.
    """
    for name, method in methods.items():
        started = time.perf_counter()
        try:
            with measured_growth() as growth:
                filled = method.fill(task)
        except SampleError as error:
            case.failures[name] = error.message
            continue
        seconds = time.perf_counter() - started
        if filled.shape != case.truth.shape or filled.dtype != np.uint8:
            raise ConfigError(
                f"{name}: the result for {case.photo} ({case.mask_kind}) must be {case.truth.shape} uint8, got "
                f"{filled.shape} {filled.dtype}"
            )
        if method.is_from_files and _holds_truth(case, filled):
            case.failures[name] = "the hole of the result holds the photo itself: it was made for other holes"
            continue
        case.fills[name] = np.where(case.mask[..., None], filled, case.truth)
        if not method.is_from_files:
            case.seconds[name] = seconds
            if method.has_memory and growth.mb is not None:
                case.memory_mb[name] = growth.mb + method.weight_bytes / MB
        if method.cost:
            case.costs[name] = method.cost(case.mask)


def _holds_truth(case: Case, filled: np.ndarray) -> bool:
    truth = case.truth[case.mask]
    return bool((truth == filled[case.mask]).all(axis=1).mean() > LEAKED and truth.std(axis=0).max() > FLAT)


def measure_case(case: Case, networks: Sequence[NetworkMetrics] = ()) -> Iterator[Row]:
    """Return a row of figures for each method, or of why it has none; measured inside the hole but for LPIPS."""
    learnt = [network.measure(case) for network in networks]
    about: Row = {"photo": case.photo, "mask": case.mask_kind, "mask_fraction": float(case.mask.mean())}
    for method, filled in case.fills.items():
        row = about | {"method": method}
        row |= {name: metric.measure(case.truth, filled, case.mask) for name, metric in METRICS.items()}
        for name, values in (("seconds", case.seconds), ("memory_mb", case.memory_mb)):
            if method in values:
                row[name] = values[method]
        if cost := case.costs.get(method):
            row |= asdict(cost)
        for figures in learnt:
            row |= figures[method]
        yield row
    for method, reason in case.failures.items():
        yield about | {"method": method, "failure": reason}
