"""Losses: those of distillation with their balancing, and distances of latents and of features."""

from moebius.train.losses.balancing import (
    BalancedLoss,
    DistillationLosses,
    balance,
    distillation_losses,
    gradient_norm,
)

__all__ = ["BalancedLoss", "DistillationLosses", "balance", "distillation_losses", "gradient_norm"]
