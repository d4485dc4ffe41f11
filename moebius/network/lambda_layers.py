"""The two λ layers of a Moebius block: Local-λ (self) and Interactive-λ (cross)."""

import torch
from torch import Tensor, nn

from moebius.network.functional import interactive_lambda, local_lambda


class LocalLambda(nn.Module):
    """Self λ layer over a feature map, with one key and value set for all heads."""

    def __init__(self, channels: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.head_width = channels // heads
        self.query = nn.Conv2d(channels, channels, 1, bias=False)
        self.key = nn.Conv2d(channels, self.head_width, 1, bias=False)
        self.value = nn.Conv2d(channels, self.head_width, 1, bias=False)
        self.query_norm = nn.BatchNorm2d(channels)
        self.value_norm = nn.BatchNorm2d(self.head_width)
        # Three-dimensional as in published checkpoints; depth 1 keeps the value channels apart.
        self.position = nn.Conv3d(1, self.head_width, (1, window, window))

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) → (B, C, H, W)."""
        height, width = features.shape[-2:]
        queries = self.query_norm(self.query(features))
        output = local_lambda(
            queries.view(-1, self.heads, self.head_width, height, width),
            self.key(features),
            self.value_norm(self.value(features)),
            self.position.weight.squeeze(2),
            self.position.bias,
        )
        return output.flatten(1, 2)


class InteractiveLambda(nn.Module):
    """Cross λ layer from a feature map of fixed size to the category context."""

    def __init__(self, channels: int, heads: int, context_width: int, context_length: int, positions: int) -> None:
        super().__init__()
        self.heads = heads
        self.head_width = channels // heads
        self.query = nn.Conv2d(channels, channels, 1, bias=False)
        self.key = nn.Linear(context_width, self.head_width, bias=False)
        self.value = nn.Linear(context_width, self.head_width, bias=False)
        self.query_norm = nn.BatchNorm2d(channels)
        self.value_norm = nn.BatchNorm1d(self.head_width)
        self.table = nn.Parameter(torch.randn(positions, context_length, self.head_width, 1).mul_(0.02))

    def forward(self, features: Tensor, context: Tensor) -> Tensor:
        """(B, C, H, W), (B, L, context_width) → (B, C, H, W).

        Raises:
            ValueError: H·W is not the number of positions that the weights were made for.
        """
        height, width = features.shape[-2:]
        if height * width != self.table.shape[0]:
            raise ValueError(
                f"these weights hold a table of {self.table.shape[0]} positions, got features {tuple(features.shape)}"
            )
        queries = self.query_norm(self.query(features))
        output = interactive_lambda(
            queries.view(-1, self.heads, self.head_width, height * width),
            self.key(context),
            self.value_norm(self.value(context).mT).mT,
            self.table.squeeze(-1),
        )
        return output.reshape(features.shape)
