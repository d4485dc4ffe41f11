"""``moebius convert SOURCE TARGET``: convert checkpoints between ``.bin`` and ``.safetensors``."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from jobs.cli.arguments import check_writable
from jobs.cli.execute import run_command
from jobs.cli.exit_codes import DONE
from jobs.cli.parser import new_parser
from moebius import MoebiusConfig, load_denoiser
from moebius.checkpoint import CheckpointError, write_state_dict
from moebius.network.averaged_file import read_published
from moebius.weights import read_config

SUFFIXES = (".bin", ".pt", ".pth", ".safetensors")


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the arguments and convert."""
    parser = new_parser(
        "convert",
        "Convert a published checkpoint to safetensors or back. Keys and shapes are preserved, and without --half also "
        "types and values. The checkpoint is checked against the model first.",
    )
    parser.add_argument("source", metavar="SOURCE", type=Path, help=f"existing file: {', '.join(SUFFIXES)}")
    parser.add_argument("target", metavar="TARGET", type=Path, help="file to write; its suffix decides the format")
    parser.add_argument(
        "--config",
        type=Path,
        metavar="JSON",
        help="sizes of the model (config.json next to SOURCE, else the published ones)",
    )
    parser.add_argument("--any", action="store_true", help="convert a checkpoint of any model, such as the autoencoder")
    parser.add_argument("--half", action="store_true", help="store float16: half the size; computed in float32")
    parser.add_argument("--force", action="store_true", help="replace TARGET")
    options = parser.parse_args(arguments)
    return run_command(lambda: _convert(options))


def _convert(options: argparse.Namespace) -> int:
    source, target = options.source, options.target
    if target.suffix not in SUFFIXES:
        raise CheckpointError(f"TARGET must end in {', '.join(SUFFIXES)}, got {target}")
    check_writable(target, options.force)
    state_dict = read_published(source)
    if not options.any:
        nearby = source.parent / "config.json"
        path = options.config or (nearby if nearby.is_file() else None)
        try:
            load_denoiser(state_dict, read_config(path) if path else MoebiusConfig())
        except CheckpointError as error:
            raise CheckpointError(f"{source}: {error}; --any converts checkpoints of other models") from error
    if options.half:
        state_dict = {key: _halved(key, value) for key, value in state_dict.items()}
    write_state_dict(state_dict, target)
    count = sum(value.numel() for value in state_dict.values())
    sys.stdout.write(f"{target}: {len(state_dict)} tensors, {count:,} values, {target.stat().st_size / 1e6:.1f} MB\n")
    return DONE


def _halved(key: str, value: Tensor) -> Tensor:
    if not value.is_floating_point():
        return value
    half = value.half()
    if not torch.equal(half.isfinite(), value.isfinite()):
        raise CheckpointError(f"float16 cannot hold {key}, which reaches {float(value.abs().max()):g}")
    return half


if __name__ == "__main__":
    sys.exit(main())
