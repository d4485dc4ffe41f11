"""``python -m moebius.train key=value …``: one process, PyTorch alone; ``moebius distill`` reads YAML."""

import argparse
import ast
import dataclasses
import logging
import sys
from typing import Any

import torch

from moebius.checkpoint import CheckpointError
from moebius.train.loop import train
from moebius.train.settings import TrainSettings
from moebius.train.tasks import build_task


def main() -> None:
    """Parse and train."""
    keys = "\n".join(f"  {field.name}={field.default}" for field in dataclasses.fields(TrainSettings))
    parser = argparse.ArgumentParser(
        prog="python -m moebius.train",
        description="Train a model; see docs/how-to/training.md and moebius/train/settings.py.",
        epilog=f"keys and their defaults:\n{keys}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("fields", metavar="key=value", nargs="*", default=[], help="a key and its value, see below")
    given = parser.parse_args().fields
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        settings = TrainSettings(**dict(map(_parsed, given)))
        torch.set_num_threads(settings.threads)
        task = build_task(settings)
    except (ValueError, TypeError, OSError) as error:
        parser.error(str(error))
    try:
        train(task, settings)
    except (CheckpointError, FloatingPointError, OSError) as error:
        sys.exit(f"{parser.prog}: {error}")


def _parsed(field: str) -> tuple[str, Any]:
    """A key and its value, which is text where the key holds text and a literal of Python elsewhere."""
    key, equal, text = field.partition("=")
    if not equal or key not in {known.name for known in dataclasses.fields(TrainSettings)}:
        raise ValueError(f"no such key=value: {field}")
    default = getattr(TrainSettings, key)
    if isinstance(default, str):
        return key, text
    try:
        value = ast.literal_eval({"true": "True", "false": "False"}.get(text, text))
    except (ValueError, SyntaxError):
        value = text
    if type(value) is not type(default) and not (isinstance(default, float) and type(value) is int):
        raise ValueError(f"{key} takes a value such as {default}, got {text}")
    return key, value


if __name__ == "__main__":
    main()
