"""Runs the evaluation in this process or on Ray workers, with equal results."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from moebius.inference.settings import InpaintSettings
from pipeline.config.job import MaskConfig, RunConfig
from pipeline.errors import ConfigError
from pipeline.evaluation.perceptual import Perceptual, Sums
from pipeline.evaluation.run import Case, Row, evaluate, open_methods

Measured = tuple[list[Row], list[Case]]  # of one photo; cases only if pictures of them are requested


@dataclass(frozen=True)
class EvaluationConfig:
    """Configuration of an evaluation.

    Args:
        weights, baselines: the methods, see :func:`pipeline.evaluation.run.open_methods`.
        settings: of the models.
        masks: kinds of holes, keys of ``MASKS``.
        seed: of holes and models.
        max_pixels: of a photo as it is measured.
        side_px: side of the square that is cut from a photo instead; ``None``: photos stay whole.
        mask_files: masks that photos get in turn, by a hash of their names, instead of drawn ones.
        mask: how the values of mask files are read, if not by default.
        hub: folder of torch.hub, for LPIPS and FID; ``None`` without.
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


class Evaluator:
    """Measures photos with its own methods and metrics.

    Args:
        config: of the evaluation.
        perceptual: metrics that are already loaded.
    """

    def __init__(self, config: EvaluationConfig, perceptual: Perceptual | None = None) -> None:
        self.config = config
        self.perceptual = perceptual or (Perceptual(config.hub) if config.hub else None)
        self.methods = open_methods(config.weights, config.settings, config.baselines)

    def measure(self, photo: Path, with_cases: bool) -> Measured:
        """Fill every kind of hole of a photo by every method."""
        asked, rows, cases = self.config, list[Row](), list[Case]()
        masks: Sequence[str | Path] = asked.masks
        if asked.mask_files:
            masks = [asked.mask_files[zlib.crc32(photo.name.encode()) % len(asked.mask_files)]]
        for case in evaluate([photo], masks, self.methods, asked.seed, asked.max_pixels, asked.side_px, asked.mask):
            rows += case.rows(self.perceptual)
            cases += [case] if with_cases else []
        return rows, cases

    def sums(self) -> Sums:
        """Return the sums for FID over all photos so far."""
        return self.perceptual.sums() if self.perceptual else {}


def evaluate_photos(
    photos: Sequence[Path],
    config: EvaluationConfig,
    pictured: int = 0,
    total: Perceptual | None = None,
    workers: int = 0,
) -> Iterator[Measured]:
    """Measure photos, in order.

    Args:
        photos: files.
        config: of the evaluation.
        pictured: photos at the beginning whose cases are kept.
        total: receives the sums for FID at the end.
        workers: of the cluster at ``RAY_ADDRESS``, or of one on this machine; each takes a GPU where there are some,
            and all must see the files. 0: this process, without Ray.

    Raises:
        ConfigError: see :class:`Evaluator`, or more workers than the cluster has GPUs or cores for.
    """
    if workers:
        Evaluator(config, total)  # raise here what would end the workers
        yield from _on_ray(photos, config, pictured, total, workers)
        return
    evaluator = Evaluator(config, total)
    for index, photo in enumerate(photos):
        yield evaluator.measure(photo, index < pictured)


def _on_ray(
    photos: Sequence[Path], config: EvaluationConfig, pictured: int, total: Perceptual | None, workers: int
) -> Iterator[Measured]:
    import ray
    from ray.util import ActorPool

    from pipeline.cluster.connect import connected
    from pipeline.cluster.nodes import node_resources
    from pipeline.worker.pool import size_pool

    with connected(None):
        nodes = node_resources()
        pool = size_pool(RunConfig(actors=workers), nodes)
        room = sum(int(node.get("CPU", 0) // pool.cpus) for node in nodes)
        if workers > room:
            raise ConfigError(f"--workers asks for {workers} workers; the CPU cores of the cluster hold {room}")
        worker = ray.remote(Evaluator).options(num_gpus=pool.gpus, num_cpus=pool.cpus)
        actors = [worker.remote(config) for _ in range(workers)]
        tasks = [(photo, index < pictured) for index, photo in enumerate(photos)]
        try:
            yield from ActorPool(actors).map(lambda actor, task: actor.measure.remote(*task), tasks)
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None
        if total:
            for sums in ray.get([actor.sums.remote() for actor in actors]):
                total.merge(sums)
