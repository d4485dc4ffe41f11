"""Pure tensor maths of the denoiser: no parameters, no state."""

import math

import torch
from torch import Tensor
from torch.nn import functional


def timestep_embedding(timesteps: Tensor, width: int) -> Tensor:
    """Sinusoidal embedding, cosines first.

    Args:
        timesteps: (B,), in 0 … 999.
        width: even.

    Returns:
        (B, width) float32.
    """
    half = width // 2
    frequencies = torch.exp(-math.log(10_000) * torch.arange(half, device=timesteps.device) / half)
    angles = timesteps[:, None].float() * frequencies[None]
    return torch.cat([angles.cos(), angles.sin()], dim=1)


def latent_mask(mask: Tensor, side: int, kind: str = "any") -> Tensor:
    """Bring a mask to the size of the latents.

    Args:
        mask: (B, 1, H, H), 1 = repaint, else 0.
        side: of the latents, a divisor of H.
        kind: ``any``: a position is repainted if any of its pixels is; ``nearest``: if its first pixel is, as
            published, so that strokes between these pixels are lost.

    Returns:
        (B, 1, side, side), of the mask's type.
    """
    step = mask.shape[-1] // side
    return mask[..., ::step, ::step] if kind == "nearest" else functional.max_pool2d(mask, step)


def local_lambda(queries: Tensor, keys: Tensor, values: Tensor, window: Tensor, bias: Tensor | None) -> Tensor:
    """Self λ layer: every query meets one content summary of the image and one summary of its own neighbourhood.

    Source: arXiv 2606.19195, Local-λ; LambdaNetworks (arXiv 2102.08602), eq. 3 with a convolved position part.

    Args:
        queries: (B, heads, K, H, W).
        keys: (B, K, H, W), not yet normalised; softmaxed over the H·W positions here.
        values: (B, V, H, W).
        window: (K, 1, S, S), weights of each key channel over the S×S neighbourhood, zero padded.
        bias: (K,).

    Returns:
        (B, heads, V, H, W).
    """
    batch, value_width, height, width = values.shape
    key_width = keys.shape[1]
    content = torch.einsum("bkn,bvn->bkv", keys.flatten(2).softmax(dim=-1), values.flatten(2))
    position = functional.conv2d(
        values.reshape(batch * value_width, 1, height, width), window, bias, padding=window.shape[-1] // 2
    )  # (B·V, K, H, W): each value channel by itself
    lambdas = position.view(batch, value_width, key_width, height, width) + content.mT[..., None, None]
    return torch.einsum("bhkyx,bvkyx->bhvyx", queries, lambdas)


def interactive_lambda(queries: Tensor, keys: Tensor, values: Tensor, table: Tensor) -> Tensor:
    """Cross λ layer: every query meets a summary of the context, mixed anew for its position.

    The sum over the context is taken last, Σ_l (Σ_k q·(k + E))·v, so that no (N, K, V) tensor of lambdas is built.

    Source: arXiv 2606.19195, Interactive-λ.

    Args:
        queries: (B, heads, K, N).
        keys: (B, L, K), not yet normalised; softmaxed over the L context tokens here.
        values: (B, L, V).
        table: (N, L, K), learned position embeddings.

    Returns:
        (B, heads, V, N).
    """
    weights = torch.einsum("bhkn,blk->bhln", queries, keys.softmax(dim=1))
    weights = weights + torch.einsum("bhkn,nlk->bhln", queries, table)
    return torch.einsum("bhln,blv->bhvn", weights, values)
