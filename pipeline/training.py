"""Training in several processes: a thin layer of Ray Train over ``moebius.train``."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from moebius.train.settings import TrainSettings
from pipeline.errors import ConfigError
from pipeline.extras import install_command

PATHS = ("photos", "held_out", "folder", "vae", "teacher", "perceptual")


@dataclass(frozen=True)
class TrainingConfig(TrainSettings):
    """Settings of a training run, and its number of processes.

    Args:
        processes: 1 trains in this process, without Ray; more are workers of Ray Train, all of which must see
            ``folder`` and ``photos``, and each of which takes ``batch_size`` crops per step.

    Raises:
        ValueError: a value out of range.
    """

    processes: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.processes < 1:
            raise ValueError(f"processes must be at least 1, got {self.processes}")


def run_training(config: TrainingConfig) -> None:
    """Train to the end; an interrupted run resumes from its last checkpoint.

    Raises:
        ConfigError: several processes, without Ray Train.
        Exception: what ended one of several processes, as it would end a single one.
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
        from ray.train import ScalingConfig, WorkerGroupError
        from ray.train.torch import TorchTrainer
    except ImportError as error:
        raise ConfigError(f"processes={config.processes} needs Ray Train: {install_command('train')}") from error

    from pipeline.cluster.connect import connected

    try:
        with connected(None):
            use_gpu = takes_gpus(config)
            if config.device == "auto":
                fields["device"] = "cuda" if use_gpu else "cpu"
            scaling = ScalingConfig(num_workers=config.processes, use_gpu=use_gpu)
            TorchTrainer(_train, train_loop_config=fields, scaling_config=scaling).fit()
    except WorkerGroupError as error:
        # A process whose peer has ended loses its connection, which is a RuntimeError.
        raise min(error.worker_failures.values(), key=lambda cause: isinstance(cause, RuntimeError)) from error


def takes_gpus(config: TrainingConfig) -> bool:
    """Return whether each process asks the connected cluster for a GPU: by ``device``, or if there is one for each."""
    if config.device != "auto":
        return config.device.startswith("cuda")
    import ray

    return ray.cluster_resources().get("GPU", 0) >= config.processes


def _train(fields: dict[str, Any]) -> None:
    from moebius.inference.threads import torch_threads
    from moebius.train.loop import train
    from moebius.train.tasks.build import build_task

    settings = TrainSettings(**fields)
    with torch_threads(settings.threads):
        train(build_task(settings), settings)
