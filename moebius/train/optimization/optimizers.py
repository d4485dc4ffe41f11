"""Muon for matrices, AdamW for the rest; warm-up and steps down of the learning rate.

Source: arXiv 2606.19195 and its published code. A parameter of the shape (a, b, …) moves by lr·0.2·√max(a, b). The Muon
of PyTorch is given the matrix (a, b·…), for which it would take lr·0.2·√max(a, b·…) (``match_rms_adamw``).
"""

import math
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from torch import nn
from torch.optim import AdamW, Muon, Optimizer

from moebius.train.settings import TrainSettings

ADAMW_BETAS = (0.9, 0.95)
EDGE_PARTS = {"conv_in", "conv_out", "categories", "embedding_layer"}


def takes_muon(name: str, parameter: nn.Parameter) -> bool:
    """Return whether a parameter of the denoiser is a matrix of the inner network, which Muon trains.

    Embeddings, the first and the last convolution, and vectors go to AdamW. Depthwise and position filters and tables
    are matrices, too. ``conv_in`` and ``conv_out`` of residual blocks are inner ones.
    """
    first = name.removeprefix("diff_model.").split(".")[0]  # where a teacher keeps its U-Net
    return first not in EDGE_PARTS and parameter.ndim > 1


def rate_scale(parameter: nn.Parameter) -> float:
    """Return the factor of the learning rate that gives PyTorch's Muon the published step, at most 1.

    >>> rate_scale(nn.Parameter(torch.empty(64, 64, 3, 3)))
    0.3333333333333333
    """
    seen = max(parameter.shape[0], parameter[0].numel())
    return math.sqrt(max(parameter.shape[:2]) / seen)


class Optimizers:
    """Muon and AdamW behind the calls of one optimizer.

    PyTorch's Muon takes two-dimensional parameters only, so that filters are given to it as views of the same memory.

    Args:
        model: the model to train.
        settings: rate, weight decay, schedule, clipping.
        muon: false gives every parameter to AdamW.
    """

    def __init__(self, model: nn.Module, settings: TrainSettings, muon: bool) -> None:
        self.settings = settings
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        self.matrices = [p for name, p in named if muon and takes_muon(name, p)]
        chosen = {id(p) for p in self.matrices}
        others = [p for p in self.parameters if id(p) not in chosen]
        group = {"params": others, "weight_decay": settings.weight_decay, "rate_scale": 1.0}
        self.optimizers: list[Optimizer] = [AdamW([group], betas=ADAMW_BETAS)]
        if self.matrices:
            self.matrices.sort(key=rate_scale)  # stable, so that a checkpoint's order stays
            self.views = [nn.Parameter(p.data.view(p.shape[0], -1)) for p in self.matrices]
            groups = _by_scale(self.matrices, self.views, settings.weight_decay)
            self.optimizers.append(Muon(groups, adjust_lr_fn="match_rms_adamw"))

    def set_rate(self, rate: float) -> None:
        """Set the learning rate of the next step."""
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate * group["rate_scale"]

    def step(self, step_index: int) -> float:
        """Clip the gradients, step and drop them; return their norm before clipping.

        Raises:
            FloatingPointError: it is not a number, or infinite; no weight was changed.
        """
        norm = nn.utils.clip_grad_norm_(self.parameters, self.settings.clip_norm)
        if not norm.isfinite():
            raise FloatingPointError(f"the gradient at step {step_index} is {float(norm)}: lower the learning_rate")
        if self.matrices:
            for view, parameter in zip(self.views, self.matrices, strict=True):
                view.grad = None if parameter.grad is None else parameter.grad.reshape(view.shape)
        self.set_rate(learning_rate(step_index, self.settings))
        for optimizer in self.optimizers:
            optimizer.step()
        for parameter in self.parameters:
            parameter.grad = None
        return float(norm)

    def state_dict(self) -> list[dict[str, Any]]:
        """Return the states of both."""
        return [optimizer.state_dict() for optimizer in self.optimizers]

    def fits(self, states: Sequence[Mapping[str, Any]]) -> bool:
        """Return whether saved states are of the same optimizers, groups and numbers of parameters."""
        return _layout(states) == _layout(self.state_dict())

    def load_state_dict(self, states: list[dict[str, Any]]) -> None:
        """Resume from saved states, with the decay of these settings."""
        for optimizer, state in zip(self.optimizers, states, strict=True):
            decays = [group["weight_decay"] for group in optimizer.param_groups]
            optimizer.load_state_dict(state)
            for group, decay in zip(optimizer.param_groups, decays, strict=True):
                group["weight_decay"] = decay


def _layout(states: Sequence[Mapping[str, Any]]) -> list[list[tuple[int, float | None]]]:
    """Return the number of parameters and the scale of the rate of each group of each optimizer."""
    return [[(len(group["params"]), group.get("rate_scale")) for group in state["param_groups"]] for state in states]


def _by_scale(matrices: Sequence[nn.Parameter], views: Sequence[nn.Parameter], decay: float) -> list[dict[str, Any]]:
    """Group views by the scale of their rate; the decay, which Muon multiplies by the rate, stays the same for all."""
    pairs = zip(map(rate_scale, matrices), views, strict=True)
    return [
        {"params": [view for _, view in group], "weight_decay": decay / scale, "rate_scale": scale}
        for scale, group in groupby(pairs, key=lambda pair: pair[0])
    ]


def learning_rate(step_index: int, settings: TrainSettings) -> float:
    """Return the rate: linear warm-up from the first step, then a tenth after each of ``decay_steps``."""
    warm = min(1.0, (step_index + 1) / max(settings.warmup_steps, 1))
    drops = sum(step_index >= step for step in settings.decay_steps)
    return settings.learning_rate * warm * 0.1**drops
