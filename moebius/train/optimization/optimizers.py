"""Muon for matrices, AdamW for the rest; warm-up and steps down of the learning rate.

Source: arXiv 2606.19195; the Muon of PyTorch with ``match_rms_adamw`` moves by lr·0.2·√max(rows, columns).
"""

from typing import Any

from torch import nn
from torch.optim import AdamW, Muon, Optimizer

from moebius.train.settings import TrainSettings

ADAMW_BETAS = (0.9, 0.95)
EDGE_PARTS = {"conv_in", "conv_out", "categories", "embedding_layer"}
UNMIXED_PARTS = {"depthwise", "position", "table"}


def takes_muon(name: str, parameter: nn.Parameter) -> bool:
    """Return whether a parameter of the denoiser is a matrix of the inner network, which Muon trains.

    Embeddings, the first and the last convolution, and filters that do not mix channels go to AdamW; a 1×1 convolution
    is a matrix. ``conv_in`` and ``conv_out`` of residual blocks are inner ones.
    """
    parts = name.removeprefix("diff_model.").split(".")  # where a teacher keeps its U-Net
    if parts[0] in EDGE_PARTS or parameter.ndim < 2:
        return False
    return not UNMIXED_PARTS & set(parts)


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
        decayed, kept = [p for p in others if p.ndim > 1], [p for p in others if p.ndim <= 1]
        groups = [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": kept, "weight_decay": 0.0}]
        self.optimizers: list[Optimizer] = [AdamW(groups, betas=ADAMW_BETAS)]
        if self.matrices:
            self.views = [nn.Parameter(p.data.view(p.shape[0], -1)) for p in self.matrices]
            self.optimizers.append(Muon(self.views, weight_decay=settings.weight_decay, adjust_lr_fn="match_rms_adamw"))

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
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step_index, self.settings)
            optimizer.step()
        for parameter in self.parameters:
            parameter.grad = None
        return float(norm)

    def state_dict(self) -> list[dict[str, Any]]:
        """Return the states of both."""
        return [optimizer.state_dict() for optimizer in self.optimizers]

    def load_state_dict(self, states: list[dict[str, Any]]) -> None:
        """Resume from saved states, with the decay of these settings."""
        for optimizer, state in zip(self.optimizers, states, strict=True):
            decays = [group["weight_decay"] for group in optimizer.param_groups]
            optimizer.load_state_dict(state)
            for group, decay in zip(optimizer.param_groups, decays, strict=True):
                group["weight_decay"] = decay


def learning_rate(step_index: int, settings: TrainSettings) -> float:
    """Return the rate: linear warm-up from the first step, then a tenth after each of ``decay_steps``."""
    warm = min(1.0, (step_index + 1) / max(settings.warmup_steps, 1))
    drops = sum(step_index >= step for step in settings.decay_steps)
    return settings.learning_rate * warm * 0.1**drops
