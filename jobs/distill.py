"""``moebius distill CONFIG [key=value …]``: train the denoiser with or without a teacher, or the autoencoder."""

import sys
from collections.abc import Sequence
from pathlib import Path

from jobs.cli.arguments import add_config, add_overrides, check_writable
from jobs.cli.execute import run_command
from jobs.cli.exit_codes import DONE, FAILED
from jobs.cli.parser import new_parser
from jobs.configuration.load import load_training_config
from pipeline.errors import ConfigError
from pipeline.uris import scheme_of


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the arguments and train."""
    parser = new_parser("distill", "Train a model. When started again, it resumes from its last checkpoint.")
    add_config(parser, "conf/distill.yaml or conf/train_nano.yaml")
    add_overrides(parser, "steps=2000")
    options = parser.parse_args(arguments)
    return run_command(lambda: _distill(options.config, options.overrides), resumable=True)


def _distill(path: str, overrides: Sequence[str]) -> int:
    config = load_training_config(path, overrides)
    from moebius.train.checkpoints import CHECKPOINT
    from moebius.train.optimization.devices import (
        DeviceError,  # imports PyTorch, so only after the configuration is checked
    )
    from moebius.train.photos import PhotosError
    from pipeline.training.run import run_training

    if not scheme_of(config.folder):
        check_writable(Path(config.folder) / CHECKPOINT)
    try:
        run_training(config)
    except (PhotosError, DeviceError) as error:
        raise ConfigError(str(error)) from error
    except FloatingPointError as error:
        sys.stderr.write(f"moebius: {error}\n")
        return FAILED
    return DONE


if __name__ == "__main__":
    sys.exit(main())
