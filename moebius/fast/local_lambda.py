"""Local-λ with constants folded, in the faster of two orders of its sums: by tiles, or position by position."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from moebius.fast.fold import ChannelNorm, ChannelsLastConv, fold_norm, linear
from moebius.network.lambda_layers import LocalLambda

TILE = 4  # positions along a side: neighbours are gathered once a tile, and 324 products serve 225 taps

BAND_TILES = 2  # high: of one, products are small; of four, scores leave the cache


def fold_local(norm: nn.LayerNorm, layer: LocalLambda, side: int) -> "FoldedLocalLambda":
    """Fold a norm and the layer after it, for maps of a side, by the way with fewer multiply-accumulates."""
    window, key_width = layer.position.kernel_size[-1], layer.head_width
    direct = key_width * key_width * window**2
    tiled = 2 * layer.heads * key_width * (TILE + window - 1) ** 2
    return DirectLocalLambda(norm, layer) if direct < tiled else TiledLocalLambda(norm, layer, side)


class FoldedLocalLambda(nn.Module):
    """Equals :class:`moebius.network.lambda_layers.LocalLambda` and the norm before it."""

    is_exact = False  # see :class:`moebius.fast.fold.Linear`

    def __init__(self, norm: nn.LayerNorm, layer: LocalLambda) -> None:
        super().__init__()
        self.norm = ChannelNorm(norm)
        self.heads, self.head_width = layer.heads, layer.head_width
        self.window = layer.position.kernel_size[-1]
        query, query_bias = fold_norm(layer.query.weight, layer.query_norm)
        value, value_bias = fold_norm(layer.value.weight, layer.value_norm)
        bias = torch.cat([query_bias, torch.zeros_like(value_bias), value_bias])
        self.project = linear(torch.cat([query, layer.key.weight, value]), bias, norm)

    def forward(self, features: Tensor) -> Tensor:
        """(B, H, W, C) → (B, H, W, C)."""
        return self.attend(self.project(self.norm(features)))

    @property
    def dtype(self) -> torch.dtype:
        """Type that :meth:`attend` computes in."""
        raise NotImplementedError

    def attend(self, projected: Tensor) -> Tensor:
        """(B, H, W, C + K + V), queries, keys and values → (B, H, W, C), in the layer's type."""
        raise NotImplementedError

    def split(self, projected: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries (B, H, W, C), values (B, H, W, V) and the sums of values weighted by keys, (B, K, V)."""
        channels = self.heads * self.head_width
        queries, keys, values = projected.split([channels, self.head_width, self.head_width], dim=-1)
        return queries, values, torch.bmm(keys.flatten(1, 2).softmax(dim=1).mT, values.flatten(1, 2))


class DirectLocalLambda(FoldedLocalLambda):
    """Builds the lambda of every position, by depthwise filters of the values: faster for narrow heads."""

    def __init__(self, norm: nn.LayerNorm, layer: LocalLambda) -> None:
        super().__init__(norm, layer)
        filters, bias = layer.position.weight.detach()[:, 0], layer.position.bias
        assert bias is not None
        width = self.head_width  # of keys and of values
        filters, bias = filters.repeat(width, 1, 1, 1), bias.detach().repeat(width)  # of each value, all keys
        self.position = ChannelsLastConv(filters, bias, groups=width * width)

    @property
    def dtype(self) -> torch.dtype:
        """Type of the filters."""
        return self.position.weight.dtype

    def attend(self, projected: Tensor) -> Tensor:
        """(B, H, W, C + K + V), queries, keys and values → (B, H, W, C)."""
        queries, values, content = self.split(projected.to(self.dtype))
        width = self.head_width
        spread = values[..., None].expand(-1, -1, -1, -1, width).flatten(3)  # (B, H, W, V·K)
        lambdas = self.position(spread).unflatten(-1, (width, width)) + content.mT[:, None, None]
        output = torch.bmm(queries.reshape(-1, self.heads, width), lambdas.flatten(0, 2).mT)
        return output.view(queries.shape)


class TiledLocalLambda(FoldedLocalLambda):
    """Builds no lambda: queries are multiplied by the taps first, and then by the values around them.

    Σ_k q[k]·(λc[k,v] + b[k] + Σ_δ E[k,δ]·v[n+δ]) = Σ_δ (q·E)[δ]·v[n+δ] + Σ_k q[k]·(λc[k,v] + b[k]): the second sum
    joins the first as K more neighbours, whose scores are the queries. The queries of a tile share one square of
    neighbours; the place of a query in its tile decides the place of its weights in the square, so they are laid out
    once for each place.
    """

    def __init__(self, norm: nn.LayerNorm, layer: LocalLambda, side: int) -> None:
        super().__init__(norm, layer)
        self.tile = next(tile for tile in (TILE, 2, 1) if side % tile == 0)
        self.taps: Tensor
        self.content_bias: Tensor
        self.register_buffer("taps", _lay_out(layer.position.weight.detach()[:, 0, 0], self.tile))
        position_bias = layer.position.bias
        assert position_bias is not None
        self.register_buffer("content_bias", position_bias.detach()[:, None].clone())

    @property
    def dtype(self) -> torch.dtype:
        """Type of the taps."""
        return self.taps.dtype

    @property
    def filters(self) -> Tensor:
        """Filters that the taps were laid out from, (K, S, S)."""
        side = self.tile + self.window - 1
        taps = self.taps[0, :, : side * side].unflatten(-1, (side, side))
        return taps[:, : self.window, : self.window]

    def attend(self, projected: Tensor) -> Tensor:
        """(B, H, W, C + K + V), queries, keys and values → (B, H, W, C)."""
        queries, values, content = self.split(projected.to(self.dtype))
        content = content + self.content_bias
        reach = self.window // 2
        padded = functional.pad(values, (0, 0, reach, reach, reach, reach))
        if projected.device.type != "cpu":
            return self._band(queries, padded, content)
        output = queries.new_empty(queries.shape)
        band = BAND_TILES * self.tile
        for sample in range(len(queries)):  # bands whose scores stay in the cache
            one = slice(sample, sample + 1)
            for top in range(0, queries.shape[1], band):
                rows, reached = slice(top, top + band), slice(top, top + band + 2 * reach)
                output[one, rows] = self._band(queries[one, rows], padded[one, reached], content[one])
        return output

    def _band(self, queries: Tensor, padded: Tensor, content: Tensor) -> Tensor:
        """(B, H, W, C), (B, H + window − 1, W + window − 1, V), (B, K, V) → (B, H, W, C)."""
        batch, height, width, channels = queries.shape
        key_width, tile = self.head_width, self.tile
        down, across, side = height // tile, width // tile, tile + self.window - 1
        end, length = key_width + side * side, key_width + self.taps.shape[-1]
        neighbours = padded.new_empty(batch, down, across, length, padded.shape[-1])
        squares = padded.unfold(1, side, tile).unfold(2, side, tile).permute(0, 1, 2, 4, 5, 3)
        neighbours[..., :key_width, :] = content[:, None, None]
        neighbours[..., key_width:end, :].unflatten(3, (side, side)).copy_(squares)
        neighbours[..., end:, :] = 0

        scores = queries.new_empty(tile * tile, batch * down * across * self.heads, length)
        placed = queries.view(batch, down, tile, across, tile, self.heads, key_width).permute(2, 4, 5, 0, 1, 3, 6)
        asked, met = scores[..., :key_width], scores[..., key_width:]
        asked.view(placed.shape).copy_(placed)
        torch.bmm(asked, self.taps, out=met)
        of_tiles = scores.view(tile * tile * self.heads, -1, length).transpose(0, 1)
        output = torch.bmm(of_tiles, neighbours.flatten(0, 2))
        output = output.view(batch, down, across, tile, tile, channels).transpose(2, 3)
        return output.reshape(batch, height, width, channels)


def _lay_out(window: Tensor, tile: int) -> Tensor:
    """(K, S, S) → (tile², K, (tile + S − 1)² and a few zeros): the weights as seen from every place of a tile.

    GPUs multiply rows of sixteen bytes, or lose their tensor cores.
    """
    key_width, size, _ = window.shape
    side = tile + size - 1
    taps = window.new_zeros(tile, tile, key_width, side, side)
    for row in range(tile):
        for column in range(tile):
            taps[row, column, :, row : row + size, column : column + size] = window
    return functional.pad(taps.view(tile * tile, key_width, side * side), (0, -side * side % 8))
