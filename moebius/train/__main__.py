"""``python -m moebius.train key=value …``: one process, PyTorch alone; ``moebius distill`` reads YAML."""

import argparse
import ast
import logging

from moebius.train.loop import train
from moebius.train.settings import TrainSettings
from moebius.train.tasks import build_task


def main() -> None:
    """Train with the fields of :class:`TrainSettings` given as ``key=value``."""
    parser = argparse.ArgumentParser(prog="moebius.train", description=main.__doc__)
    parser.add_argument("fields", metavar="key=value", nargs="*")
    values = {}
    for field in parser.parse_args().fields:
        key, _, text = field.partition("=")
        values[key] = text if isinstance(getattr(TrainSettings, key), str) else ast.literal_eval(text)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    settings = TrainSettings(**values)
    train(build_task(settings), settings)


if __name__ == "__main__":
    main()
