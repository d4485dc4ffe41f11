"""Runs the evaluation in this process or on Ray workers, with equal results."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from moebius.inference.settings import InpaintSettings
from pipeline.config.job import MaskConfig, RunConfig
from pipeline.errors import ConfigError
from pipeline.evaluation.against.specs import Spec, open_others
from pipeline.evaluation.case import Case, Row
from pipeline.evaluation.methods import Task, open_methods
from pipeline.evaluation.networks import open_networks
from pipeline.evaluation.run import blanked_cases, fill_case, measure_case

Measured = tuple[list[Row], list[Case]]  # of one photo; cases only if pictures of them are requested


@dataclass(frozen=True)
class EvaluationConfig:
    """Configuration of an evaluation.

    Args:
        weights, baselines: the methods, see :func:`pipeline.evaluation.methods.open_methods`.
        settings: of the models.
        masks: kinds of holes, keys of ``MASKS``.
        seed: of holes and models.
        max_pixels: of a photo as it is measured.
        side_px: side of the square that is cut from a photo instead; ``None``: photos stay whole.
        mask_files: instead of drawn masks: a photo gets that of its name, or else one by a hash of its name.
        mask: how the values of mask files are read, if not by default.
        hub: folder of torch.hub, for LPIPS and FID; ``None`` without.
        features: whether features of EfficientNet-Lite0 are compared.
        against: fillers from elsewhere.
    """

    weights: Sequence[str]
    baselines: Sequence[str]
    settings: InpaintSettings
    masks: Sequence[str]
    seed: int
    max_pixels: int
    side_px: int | None = None
    mask_files: Sequence[Path] = ()
    mask: MaskConfig | None = None
    hub: Path | None = None
    features: bool = False
    against: Sequence[Spec] = ()

    @cached_property
    def masks_by_name(self) -> dict[str, Path]:
        """Return the mask files by their names without extension, as far as no two have the same."""
        counts = Counter(path.stem for path in self.mask_files)
        return {path.stem: path for path in self.mask_files if counts[path.stem] == 1}

    def masks_of(self, photo: Path) -> Sequence[str | Path]:
        """Return the kinds of holes of a photo, or its mask file."""
        if not self.mask_files:
            return self.masks
        by_hash = self.mask_files[zlib.crc32(photo.name.encode()) % len(self.mask_files)]
        return [self.masks_by_name.get(photo.stem, by_hash)]


class Evaluator:
    """Measures photos with its own methods and metrics.

    Args:
        config: of the evaluation.
    """

    def __init__(self, config: EvaluationConfig) -> None:
        self.config = config
        self.networks = open_networks(config.hub, config.features)
        self.methods = open_methods(config.weights, config.settings, config.baselines)
        self.methods |= open_others(config.against, config.settings.context, self.methods)

    def measure(self, photo: Path, with_cases: bool) -> Measured:
        """Fill every kind of hole of a photo by every method."""
        rows, cases = list[Row](), list[Case]()
        for case, task in cases_of(photo, self.config):
            fill_case(case, task, self.methods)
            rows += measure_case(case, self.networks)
            cases += [case] if with_cases else []
        return rows, cases

    def parameters(self) -> dict[str, int]:
        """Return the number of parameters of each model by method."""
        return {name: method.parameters for name, method in self.methods.items() if method.parameters is not None}

    def notes(self) -> list[str]:
        """Return sentences on how methods fill, and on metrics that are left out."""
        of_methods = [f"{name}: {method.note}" for name, method in self.methods.items() if method.note]
        return [*of_methods, *(note for network in self.networks for note in network.notes())]

    def states(self) -> list[Any]:
        """Return what each network has kept of all photos so far."""
        return [network.state() for network in self.networks]


def cases_of(photo: Path, config: EvaluationConfig) -> Iterator[tuple[Case, Task]]:
    """Blank the holes of a photo, see :func:`pipeline.evaluation.run.blanked_cases`."""
    return blanked_cases([photo], config.masks_of(photo), config.seed, config.max_pixels, config.side_px, config.mask)


def evaluate_photos(
    photos: Sequence[Path],
    config: EvaluationConfig,
    pictured: Collection[int] = (),
    evaluator: Evaluator | None = None,
    workers: int = 0,
) -> Iterator[Measured]:
    """Measure photos, in order.

    Args:
        photos: files.
        config: of the evaluation.
        pictured: indices of the photos whose cases are kept.
        evaluator: whose networks know all photos at the end.
        workers: of the cluster at ``RAY_ADDRESS``, or of one on this machine; each takes a GPU where there are some,
            and all must see the files. 0: this process, without Ray.

    Raises:
        ConfigError: see :class:`Evaluator`, or more workers than the cluster has GPUs or cores for.
    """
    evaluator = evaluator or Evaluator(config)  # with workers, too: it raises here what would end them
    if workers:
        yield from _on_ray(photos, config, pictured, evaluator, workers)
        return
    for index, photo in enumerate(photos):
        yield evaluator.measure(photo, index in pictured)


def _on_ray(
    photos: Sequence[Path], config: EvaluationConfig, pictured: Collection[int], total: Evaluator, workers: int
) -> Iterator[Measured]:
    import ray
    from ray.util import ActorPool

    from pipeline.cluster.connection.connect import connected
    from pipeline.cluster.connection.nodes import node_resources
    from pipeline.worker.pool import size_pool

    with connected(None):
        nodes = node_resources()
        pool = size_pool(RunConfig(actors=workers), nodes)
        room = sum(int(node.get("CPU", 0) // pool.cpus) for node in nodes)
        if workers > room:
            raise ConfigError(f"--workers asks for {workers} workers; the CPU cores of the cluster hold {room}")
        worker = ray.remote(Evaluator).options(num_gpus=pool.gpus, num_cpus=pool.cpus)
        actors = [worker.remote(config) for _ in range(workers)]
        tasks = [(photo, index in pictured) for index, photo in enumerate(photos)]
        try:
            yield from ActorPool(actors).map(lambda actor, task: actor.measure.remote(*task), tasks)
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None
        for states in ray.get([actor.states.remote() for actor in actors]):
            for network, state in zip(total.networks, states, strict=True):
                network.merge(state)
