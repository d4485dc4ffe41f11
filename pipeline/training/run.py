"""Training in one process or several: a thin layer of Ray Train over ``moebius.train``."""

import logging
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import ConfigError
from pipeline.extras import install_command
from pipeline.training.config import TrainingConfig
from pipeline.training.job import StreamSettings
from pipeline.uris import public_uri, scheme_of

if TYPE_CHECKING:
    from moebius.train.loop import Task
    from pipeline.training.stream import StreamedSource

logger = logging.getLogger(__name__)
PATHS = ("photos", "latents", "held_out", "folder", "vae", "teacher", "perceptual")


def run_training(config: TrainingConfig) -> None:
    """Train to the end; an interrupted run resumes from its last checkpoint.

    Raises:
        ConfigError: several processes, without Ray Train.
        Exception: what ended one of several processes, as it would end a single one.
    """
    if config.processes == 1:
        _train({"config": config})
        return
    local = {name: path for name in PATHS if (path := getattr(config, name)) and not scheme_of(path)}
    absolute: dict[str, Any] = {name: str(Path(path).absolute()) for name, path in local.items()}
    if config.init and Path(config.init).exists():  # else the name of weights, or a uri
        absolute["init"] = str(Path(config.init).absolute())
    config = replace(config, **absolute)  # workers run in folders of their own
    try:
        from ray.train import ScalingConfig, WorkerGroupError
        from ray.train.torch import TorchTrainer
    except ImportError as error:
        raise ConfigError(f"processes={config.processes} needs Ray Train: {install_command('train')}") from error

    from pipeline.cluster.connection.connect import connected

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

    with _working_folder(arguments["config"]) as (config, publish), torch_threads(config.threads):
        task = build_task(config, partial(_open_source, config) if config.source else None)
        if config.latents:
            _use_latents(config, task)
        train(task, config, publish)


def _use_latents(config: TrainingConfig, task: "Task") -> None:
    """Encode the latents of a configuration unless they are there, and let a task stream them."""
    from moebius.train.data.source import process_count, process_index
    from moebius.train.tasks.denoising import DenoiserTask
    from pipeline.storage.storage import Storage
    from pipeline.training.latents import LatentFolder
    from pipeline.training.stream import StreamedSource

    assert isinstance(task, DenoiserTask) and isinstance(task.source, StreamedSource)
    storage = Storage(config.latents, config.storage)
    folder = LatentFolder(storage, task.source, task.vae, task.config.latent_size, config.cached)
    if not folder.is_complete():
        if config.processes > 1:
            raise ConfigError(f"latents: {storage} is not complete: run the same command with processes=1 first")
        folder.encode()
    task.source = folder.stream(config.latents, process_index(), process_count())


@contextmanager
def _working_folder(config: TrainingConfig) -> Iterator[tuple[TrainingConfig, Callable[[], None]]]:
    """Yield the configuration with a local folder, and what makes its page and copies it to a remote folder."""
    from pipeline.training.page import write_page

    title, given = public_uri(config.folder), config

    def write(folder: str) -> None:
        write_page(Path(folder), title, given, datetime.now().astimezone())

    if not scheme_of(config.folder):
        yield config, lambda: write(config.folder)
        return
    from pipeline.storage.storage import Storage
    from pipeline.training.remote_folder import RemoteFolder

    with tempfile.TemporaryDirectory(prefix="moebius-train-") as local:
        remote = RemoteFolder(Storage(config.folder, config.storage), Path(local))
        remote.fetch()

        def publish() -> None:
            write(local)
            remote.publish()

        yield replace(config, folder=local), publish
        logger.info("everything was copied to %s", remote.storage)


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
        storage=config.storage,
    )
    order = SampleOrder(settings, process_index(), process_count())
    if config.processes > 1:
        from pipeline.training.ray_chunks import RayChunks, decoding_tasks

        if tasks := decoding_tasks(config.processes):
            return StreamedSource(order, RayChunks(order, tasks))
    return StreamedSource(order)
