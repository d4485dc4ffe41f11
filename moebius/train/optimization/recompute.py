"""Gradient checkpointing: activations of inner blocks are computed again in the backward pass rather than kept."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import partial

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from moebius.network.blocks import LambdaTransformer, ResidualBlock


def recompute_blocks(model: nn.Module) -> None:
    """Let the residual blocks and transformers of a denoiser keep only their inputs; losses and gradients are equal.

    The second computation does not update the running statistics of batch norms, which have seen the batch already.
    """
    for block in model.modules():
        if isinstance(block, ResidualBlock | LambdaTransformer):
            norms = [norm for norm in block.modules() if isinstance(norm, _BatchNorm)]
            contexts = partial(_contexts, norms)
            block.forward = partial(checkpoint, block.forward, use_reentrant=False, context_fn=contexts)  # type: ignore[method-assign]


def _contexts(norms: list[_BatchNorm]) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    return nullcontext(), _WithoutStatistics(norms)


class _WithoutStatistics(AbstractContextManager[None]):
    """Keep batch norms from updating their statistics; entered once in every backward pass over one graph."""

    def __init__(self, norms: list[_BatchNorm]) -> None:
        self.norms = norms

    def __enter__(self) -> None:
        self.kept = [(norm.momentum, norm.num_batches_tracked) for norm in self.norms]
        for norm in self.norms:
            norm.momentum, norm.num_batches_tracked = 0.0, None

    def __exit__(self, *_error: object) -> None:
        for norm, (momentum, count) in zip(self.norms, self.kept, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, count
