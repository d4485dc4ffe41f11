"""Adaptive multi-granularity distillation: student, frozen teacher and balanced losses of a step."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from moebius.network.denoiser import LAYERS_DOWN
from moebius.sampling.solvers import clean_latents
from moebius.train.data.batches import NoisyBatch
from moebius.train.losses.balancing import balance, distillation_losses
from moebius.train.teacher import Teacher

# predicted clean latents of the student and the true ones, each (B, C, h, w) -> scalar
PerceptualDistance = Callable[[Tensor, Tensor], Tensor]


class Distillation:
    """Losses of a student against a teacher.

    Args:
        teacher: frozen, in evaluation mode.
        balancing: ``published`` or ``paper``.
        perceptual: distance of the student's clean latents to the true ones, as the published code takes it; ``None``
            leaves the term out.
    """

    def __init__(self, teacher: Teacher, balancing: str, perceptual: PerceptualDistance | None = None) -> None:
        self.teacher, self.balancing, self.perceptual = teacher, balancing, perceptual

    def losses(self, student: nn.Module, batch: NoisyBatch) -> dict[str, Tensor]:
        """Return the terms of one step, their weights and the balanced ``total``."""
        student_noise, student_features = _with_features(
            student, last_down_level(student), batch.inputs, batch.timesteps, batch.category_ids
        )
        with torch.no_grad():
            teacher_noise, teacher_features = _with_features(
                self.teacher, self.teacher.first_up_block, batch.inputs, batch.timesteps, batch.category_ids
            )
        perceptual = None
        if self.perceptual is not None:
            noisy = batch.inputs[:, : student_noise.shape[1]]
            alphas = batch.alphas.view(-1, 1, 1, 1)
            perceptual = self.perceptual(clean_latents(noisy, student_noise, alphas), batch.clean)
        losses = distillation_losses(
            student_noise, student_features, teacher_noise, teacher_features, batch.noise, perceptual
        )
        output_weight, feature_weight = balancing_weights(student)
        balanced = balance(losses, output_weight, feature_weight, self.balancing)
        terms = {
            "total": balanced.total,
            "task": losses.task,
            "fine": losses.fine,
            "coarse": losses.coarse,
            "task_weight": balanced.task_weight,
            "fine_weight": balanced.fine_weight,
            "perceptual_weight": balanced.perceptual_weight,
        }
        return terms if perceptual is None else terms | {"perceptual": perceptual}


def balancing_weights(student: nn.Module) -> tuple[Tensor, Tensor]:
    """Return the last pointwise convolution, and projection-out of the last transformer of the last down level."""
    last_level = last_down_level(student)
    return (
        student.get_parameter("conv_out.pointwise.weight"),
        last_level.get_parameter(f"transformers.{LAYERS_DOWN - 1}.project_out.weight"),
    )


def last_down_level(student: nn.Module) -> nn.Module:
    """Return the level whose output the coarse loss compares."""
    *_, level = student.get_submodule("down_levels").children()
    return level


def _with_features(model: nn.Module, inner: nn.Module, *inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Return the output of a model and of a module inside it (the last one of a list)."""
    seen: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: object, output: Tensor | list[Tensor]) -> None:
        seen.append(output[-1] if isinstance(output, list) else output)

    handle = inner.register_forward_hook(keep)
    try:
        prediction = model(*inputs)
        return prediction, seen[0]
    finally:
        handle.remove()
