"""Losses of distillation and their balancing, as pure functions of tensors.

Source: arXiv 2606.19195; the published code balances with other factors than the paper; both are here.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from moebius.train.settings import BALANCINGS


@dataclass(frozen=True)
class DistillationLosses:
    """Losses of a student, scalars with gradients.

    Args:
        task: mean squared error between the student's noise and the true noise.
        fine: the same between the student's noise and the teacher's.
        coarse: the same between the student's last down level and the teacher's first up level.
        perceptual: distance of the student's clean latents to the true ones; ``None`` without one.
    """

    task: Tensor
    fine: Tensor
    coarse: Tensor
    perceptual: Tensor | None = None


@dataclass(frozen=True)
class BalancedLoss:
    """Total with gradients and its detached weights; ``perceptual`` is 0 without that loss."""

    total: Tensor
    task_weight: Tensor
    fine_weight: Tensor
    perceptual_weight: Tensor


def distillation_losses(
    student_noise: Tensor,
    student_features: Tensor,
    teacher_noise: Tensor,
    teacher_features: Tensor,
    noise: Tensor,
    perceptual: Tensor | None = None,
) -> DistillationLosses:
    """Compute the losses of one batch.

    Args:
        student_noise, teacher_noise, noise: (B, C, h, w).
        student_features: (B, C, h/4, w/4), output of the student's last down level.
        teacher_features: (B, C, h/4, w/4), output of the teacher's first up block.
        perceptual: perceptual distance of the student's clean latents to the true ones; ``None``: there is none.

    Raises:
        ValueError: features whose shapes differ.
    """
    if student_features.shape != teacher_features.shape:
        raise ValueError(
            "features of student and teacher must have one shape, "
            f"got {tuple(student_features.shape)} and {tuple(teacher_features.shape)}"
        )
    return DistillationLosses(
        task=functional.mse_loss(student_noise, noise),
        fine=functional.mse_loss(student_noise, teacher_noise),
        coarse=functional.mse_loss(student_features, teacher_features),
        perceptual=perceptual,
    )


def balance(losses: DistillationLosses, output_weight: Tensor, feature_weight: Tensor, how: str) -> BalancedLoss:
    """Weigh the losses by the gradients they send to two weights of the student.

    Args:
        losses: losses of one batch; their graph is kept.
        output_weight: the last pointwise convolution.
        feature_weight: projection-out of the last transformer of the last down level.
        how: ``published`` or ``paper``.

    Raises:
        ValueError: an unknown way to balance.
    """
    if how not in BALANCINGS:
        raise ValueError(f"balancing must be one of {', '.join(BALANCINGS)}, got {how}")
    return (_balance_as_published if how == "published" else _balance_as_in_paper)(
        losses, output_weight, feature_weight
    )


def gradient_norm(loss: Tensor, weight: Tensor) -> Tensor:
    """Return the detached norm of ∂loss/∂weight; the graph is kept."""
    (gradient,) = torch.autograd.grad(loss, weight, retain_graph=True)
    return gradient.norm().detach()


def _balance_as_published(losses: DistillationLosses, output_weight: Tensor, feature_weight: Tensor) -> BalancedLoss:
    task_norm = gradient_norm(losses.task, output_weight)
    fine_weight = (task_norm / (gradient_norm(losses.fine, output_weight) + 1e-6)).clamp(max=1e6)
    task_weight = gradient_norm(losses.coarse, feature_weight) / (gradient_norm(losses.task, feature_weight) + 1e-4)
    task_weight = task_weight.clamp(max=1e4)
    output = 0.5 * losses.task + 0.01 * fine_weight * losses.fine
    perceptual_weight = torch.zeros_like(task_norm)
    if losses.perceptual is not None:
        perceptual_weight = (task_norm / (gradient_norm(losses.perceptual, output_weight) + 1e-6)).clamp(max=1e6)
        output = output + 0.5 * perceptual_weight * losses.perceptual
    total = 0.01 * losses.coarse + task_weight * output
    return BalancedLoss(total, task_weight, fine_weight, perceptual_weight)


def _balance_as_in_paper(losses: DistillationLosses, output_weight: Tensor, feature_weight: Tensor) -> BalancedLoss:
    """Ratios of squared norms: coarse + W_C·(task + W_F·fine + W_p·perceptual)."""
    task_norm = gradient_norm(losses.task, output_weight)
    fine_weight = _squared_ratio(task_norm, gradient_norm(losses.fine, output_weight))
    output = losses.task + fine_weight * losses.fine
    perceptual_weight = torch.zeros_like(task_norm)
    if losses.perceptual is not None:
        perceptual_weight = _squared_ratio(task_norm, gradient_norm(losses.perceptual, output_weight))
        output = output + perceptual_weight * losses.perceptual
    coarse_norm = gradient_norm(losses.coarse, feature_weight)
    task_weight = _squared_ratio(coarse_norm, gradient_norm(output, feature_weight))
    return BalancedLoss(losses.coarse + task_weight * output, task_weight, fine_weight, perceptual_weight)


def _squared_ratio(above: Tensor, below: Tensor) -> Tensor:
    return (above.square() / (below.square() + 1e-12)).clamp(max=1e6)
