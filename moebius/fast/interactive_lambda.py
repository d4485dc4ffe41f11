"""Interactive-λ with fixed contexts: keys, values and table are constants of a checkpoint and a guidance branch."""

import torch
from torch import Tensor, nn

from moebius.fast.fold import ChannelNorm, fold_norm, linear
from moebius.network.lambda_layers import InteractiveLambda


class FoldedInteractiveLambda(nn.Module):
    """Equals :class:`moebius.network.lambda_layers.InteractiveLambda` for contexts that are known beforehand.

    Args:
        norm: before the layer.
        layer: the layer.
        contexts: (branches, L, context_width).
    """

    def __init__(self, norm: nn.LayerNorm, layer: InteractiveLambda, contexts: Tensor) -> None:
        super().__init__()
        self.heads = layer.heads
        self.norm = ChannelNorm(norm)
        self.query = linear(*fold_norm(layer.query.weight, layer.query_norm), norm)
        keys = layer.key(contexts).softmax(dim=1)
        self.table: Tensor
        self.values: Tensor
        self.register_buffer("table", (keys[:, None] + layer.table.squeeze(-1)).mT.contiguous())  # (branches, N, K, L)
        self.register_buffer("values", layer.value_norm(layer.value(contexts).mT).mT.contiguous())  # (branches, L, V)

    def forward(self, features: Tensor, samples: int, branches: int) -> Tensor:
        """Compute the layer for the contexts of the first ``branches`` branches.

        Args:
            features: (branches·samples, H, W, C), branch by branch, or (samples, H, W, C) while all branches agree.
            samples: number of samples.
            branches: number of branches.

        Returns:
            (branches·samples, H, W, C).
        """
        return self.meet(self.query(self.norm(features)), samples, branches)

    def meet(self, queries: Tensor, samples: int, branches: int) -> Tensor:
        """Compute :meth:`forward` from queries, (branches·samples or samples, H, W, C), float32 or bfloat16."""
        _, height, width, channels = queries.shape
        positions = height * width
        table, values = self.table[:branches], self.values[:branches]
        queries = queries.to(table.dtype).view(-1, samples, positions, self.heads, channels // self.heads)
        queries = queries.transpose(1, 2).flatten(2, 3)  # (branches or 1, N, samples·heads, K): small matrices
        weights = torch.matmul(queries, table)
        output = torch.bmm(weights.flatten(1, 2), values).view(branches, positions, samples, channels)
        return output.transpose(1, 2).reshape(branches * samples, height, width, channels)
