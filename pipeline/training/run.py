"""Training in one process or several: a thin layer of Ray Train over ``moebius.train``."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import ConfigError
from pipeline.extras import install_command
from pipeline.training.config import TrainingConfig
from pipeline.training.job import StreamSettings

if TYPE_CHECKING:
    from pipeline.training.stream import StreamedSource

PATHS = ("photos", "held_out", "folder", "vae", "teacher", "perceptual")


def run_training(config: TrainingConfig) -> None:
    """Train to the end; an interrupted run resumes from its last checkpoint.

    Raises:
        ConfigError: several processes, without Ray Train.
        Exception: what ended one of several processes, as it would end a single one.
    """
    if config.processes == 1:
        _train({"config": config})
        return
    absolute: dict[str, Any] = {name: str(Path(path).absolute()) for name in PATHS if (path := getattr(config, name))}
    if config.init and Path(config.init).exists():  # else the name of weights, or a uri
        absolute["init"] = str(Path(config.init).absolute())
    config = replace(config, **absolute)  # workers run in folders of their own
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
                config = replace(config, device="cuda" if use_gpu else "cpu")
            scaling = ScalingConfig(num_workers=config.processes, use_gpu=use_gpu)
            TorchTrainer(_train, train_loop_config={"config": config}, scaling_config=scaling).fit()
    except WorkerGroupError as error:
        # A process whose peer has ended loses its connection, which is a RuntimeError.
        raise min(error.worker_failures.values(), key=lambda cause: isinstance(cause, RuntimeError)) from error


def takes_gpus(config: TrainingConfig) -> bool:
    """Return whether each process asks the connected cluster for a GPU: by ``device``, or if there is one for each."""
    if config.device != "auto":
        return config.device.startswith("cuda")
    import ray

    return ray.cluster_resources().get("GPU", 0) >= config.processes


def _train(arguments: dict[str, Any]) -> None:
    from moebius.inference.threads import torch_threads
    from moebius.train.loop import train
    from moebius.train.tasks.build import build_task

    config: TrainingConfig = arguments["config"]
    with torch_threads(config.threads):
        train(build_task(config, partial(_open_source, config) if config.source else None), config)


def _open_source(config: TrainingConfig, size_px: int) -> "StreamedSource":
    from moebius.train.data.source import process_count, process_index
    from pipeline.training.order import SampleOrder
    from pipeline.training.stream import StreamedSource

    assert config.source is not None
    settings = StreamSettings(
        config.source,
        config.mask,
        size_px,
        config.masks,
        config.object_share,
        config.shuffle,
        config.seed,
        config.storage,
    )
    return StreamedSource(SampleOrder(settings, process_index(), process_count()))
