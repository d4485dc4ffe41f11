"""Gated linear attention in chunks: exact, plain PyTorch."""

import torch
from torch import Tensor

CHUNK = 64
MAX_DECAY = 60.0


def gated_linear_attention(queries: Tensor, keys: Tensor, values: Tensor, log_gates: Tensor) -> Tensor:
    """Compute S_t = diag(exp g_t)·S_{t−1} + k_tᵀ·v_t and o_t = q_t·S_t, causal over positions.

    Within a chunk every pair of positions is decayed by the difference of summed log gates, which is never positive, so
    that nothing overflows however strong the gates are.

    Source: gated linear attention (arXiv 2312.06635), eqs. 3 and 6.

    Args:
        queries, keys, log_gates: (B, heads, N, K); queries already scaled, gates at most 0.
        values: (B, heads, N, V).

    Returns:
        (B, heads, N, V).
    """
    state = values.new_zeros(*keys.shape[:2], keys.shape[-1], values.shape[-1])
    outputs = []
    for start in range(0, keys.shape[2], CHUNK):
        part = slice(start, start + CHUNK)
        q, k, v = queries[:, :, part], keys[:, :, part], values[:, :, part]
        decay = log_gates[:, :, part].cumsum(dim=2)  # (B, heads, C, K)
        carried = (q * decay.exp()) @ state
        outputs.append(carried + _scores(q, k, decay) @ v)
        last = decay[:, :, -1:]
        state = state * last.exp().mT + (k * (last - decay).exp()).mT @ v
    return torch.cat(outputs, dim=2)


def _scores(queries: Tensor, keys: Tensor, decay: Tensor) -> Tensor:
    """Compute Σ_k q_ik·k_jk·exp(d_ik − d_jk) for j ≤ i, else 0: (B, heads, C, C)."""
    if float(decay.detach().min()) > -MAX_DECAY:
        scores = (queries * decay.exp()) @ (keys * (-decay).exp()).mT
    else:  # exp(−d) would overflow: one difference a pair and channel
        pairs = (decay[:, :, :, None] - decay[:, :, None]).clamp(max=0)  # (B, heads, C, C, K)
        scores = torch.einsum("bhik,bhjk,bhijk->bhij", queries, keys, pairs.exp())
    return scores.tril()
