"""Training in several processes: a thin layer of Ray Train over ``moebius.train``."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from moebius.train.settings import TrainSettings
from pipeline.errors import ConfigError

PATHS = ("photos", "held_out", "folder", "vae", "teacher", "perceptual")


@dataclass(frozen=True)
class TrainingConfig(TrainSettings):
    """The settings of a run, and over how many processes it is spread.

    Args:
        processes: 1 trains in this process, without Ray; more are workers of Ray Train, all of which must see
            ``folder`` and ``photos``, and each of which takes ``batch_size`` crops a step.

    Raises:
        ValueError: a value out of range.
    """

    processes: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.processes < 1:
            raise ValueError(f"processes must be at least 1, got {self.processes}")


def run_training(config: TrainingConfig) -> None:
    """Train to the end; a run that was killed goes on from its last checkpoint.

    Raises:
        ConfigError: several processes, without Ray Train.
    """
    fields = asdict(config)
    del fields["processes"]
    if config.processes == 1:
        _train(fields)
        return
    for name in PATHS:  # workers run in folders of their own
        fields[name] = str(Path(fields[name]).absolute()) if fields[name] else ""
    if fields["init"] and Path(fields["init"]).exists():  # else the name of weights, or a uri
        fields["init"] = str(Path(fields["init"]).absolute())
    try:
        from ray.train import ScalingConfig
        from ray.train.torch import TorchTrainer
    except ImportError as error:
        raise ConfigError(
            f"processes={config.processes} needs Ray Train: pip install -c constraints.txt -e '.[train]'"
        ) from error

    scaling = ScalingConfig(num_workers=config.processes)
    TorchTrainer(_train, train_loop_config=fields, scaling_config=scaling).fit()


def _train(fields: dict[str, Any]) -> None:
    from moebius.train.loop import train
    from moebius.train.tasks import build_task

    settings = TrainSettings(**fields)
    train(build_task(settings), settings)
