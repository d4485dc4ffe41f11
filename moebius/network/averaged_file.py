"""Averaged weights as the published trainer writes them: parameters under names without dots.

Source: ``LitEma`` of latent diffusion. Its file has neither the dots of names nor the statistics of batch norms; both
are in the checkpoint beside it.
"""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from moebius.checkpoint import CheckpointError, read_state_dict

MARK = ".EMA"  # in the name of such a file
COUNTERS = {"decay", "num_updates"}


def read_published(path: str | Path) -> dict[str, Tensor]:
    """Read a checkpoint with published keys; one of averaged weights is completed from the checkpoint beside it.

    Args:
        path: such as ``diffusion_pytorch_model.bin`` or ``diffusion_pytorch_model.EMA.bin``.

    Raises:
        CheckpointError: unreadable; or averaged weights without the checkpoint that has their names, or of another.
    """
    state = read_state_dict(path)
    if not state.keys() >= COUNTERS:
        return state
    company = company_of(path)
    if company is None or not company.is_file():
        wanted = company or "a checkpoint of the same run"
        raise CheckpointError(
            f"{path} holds averaged parameters without the dots of their names and without the statistics of batch "
            f"norms: put {wanted} beside it"
        )
    return _completed(state, read_state_dict(company), f"{path} and {company}")


def company_of(path: str | Path) -> Path | None:
    """Return where the checkpoint beside averaged weights is; ``None`` for a file of another name.

    >>> company_of("a/diffusion_pytorch_model.EMA.bin").name
    'diffusion_pytorch_model.bin'
    """
    path = Path(path)
    return path.with_name(path.name.replace(MARK, "")) if MARK in path.name else None


def _completed(averaged: Mapping[str, Tensor], state: Mapping[str, Tensor], files: str) -> dict[str, Tensor]:
    names = {key.replace(".", ""): key for key in state}
    values = {key: value for key, value in averaged.items() if key not in COUNTERS}
    strange = sorted(key for key in values if key not in names or values[key].shape != state[names[key]].shape)
    if strange or not values:
        raise CheckpointError(f"{files} are not of one model: {', '.join(strange[:5]) or 'no parameters'}")
    return {**state, **{names[key]: value for key, value in values.items()}}
