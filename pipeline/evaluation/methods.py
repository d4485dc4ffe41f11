"""Ways to fill holes: models of this project and classical fills."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from torch import nn

from moebius.bench.counting import parameter_count
from moebius.inference.inpainter import Cost, Inpainter
from moebius.inference.settings import InpaintSettings
from pipeline.evaluation.baselines import BASELINES
from pipeline.storage.weights import fetch_weights


@dataclass(frozen=True)
class Task:
    """One photo with its hole blanked, as every method gets it.

    Args:
        photo: name of the file.
        kind: of the mask.
        image: (H, W, 3) uint8; its hole has the mean colour of the rest.
        mask: (H, W) bool, true = fill.
        seed: of the evaluation.
    """

    photo: str
    kind: str
    image: np.ndarray
    mask: np.ndarray
    seed: int


Fill = Callable[[Task], np.ndarray]  # → (H, W, 3) uint8, of which only the hole counts


@dataclass(frozen=True)
class Method:
    """A way to fill holes.

    Args:
        fill: fills them; may raise ``SampleError`` where it cannot fill one.
        cost: counts what that takes of a model of ours, from the hole; ``None`` for any other.
        parameters: of its model; ``None`` if unknown or without one.
        weight_bytes: of its model in memory.
        has_memory: whether :mod:`pipeline.evaluation.memory` sees what it takes.
        is_from_files: whether its fills were made before, so that their time and memory are unknown.
        note: how it fills, where that is not what the options say.
    """

    fill: Fill
    cost: Callable[[np.ndarray], Cost] | None = None
    parameters: int | None = None
    weight_bytes: int = 0
    has_memory: bool = True
    is_from_files: bool = False
    note: str = ""


def open_methods(weights: Sequence[str], settings: InpaintSettings, baselines: Sequence[str]) -> dict[str, Method]:
    """Open the methods by name: baselines first, then each model by the name of its weights."""
    methods = {name: Method(_of_photo(BASELINES[name])) for name in baselines}
    for name in weights:
        denoiser, vae = fetch_weights(name, {}).load()
        counts = [(parameter_count(model), weight_bytes(model)) for model in (denoiser, vae)]
        inpainter = Inpainter(denoiser, vae, settings)
        parameters, size = (sum(part) for part in zip(*counts, strict=True))
        methods[name] = Method(_of_inpainter(inpainter), inpainter.cost, parameters, size)
    return methods


def weight_bytes(model: nn.Module) -> int:
    """Return the memory that the weights of a model take."""
    return sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())


def _of_photo(fill: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Fill:
    return lambda task: fill(task.image, task.mask)


def _of_inpainter(inpainter: Inpainter) -> Fill:
    return lambda task: inpainter([task.image], [task.mask], [task.seed])[0]
