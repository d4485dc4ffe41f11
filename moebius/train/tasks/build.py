"""Training tasks by the name of their mode."""

from collections.abc import Callable
from dataclasses import replace

from moebius.network.averaged_file import read_published
from moebius.network.config import MoebiusConfig
from moebius.train.data.source import CropSource
from moebius.train.loop import Task
from moebius.train.losses.latent_lpips import load_latent_lpips
from moebius.train.optimization.devices import choose_device
from moebius.train.settings import TrainSettings
from moebius.train.tasks.autoencoder import CROP_PX, AutoencoderTask
from moebius.train.tasks.denoising import DenoiserTask
from moebius.train.tasks.distillation import Distillation
from moebius.train.tasks.teacher import TeacherTask
from moebius.train.teacher import load_teacher
from moebius.weights.files import find_weights

SMALL_CONFIG = MoebiusConfig(
    channels=(64, 128, 192),
    image_size=128,
    category_width=96,
    context_width=48,
    heads=8,
    ffn_ratio=1.5,
    local_window=7,
    vae_factor=8,
    latent_channels=8,
)


# side of the crops, in pixels -> where they come from
NewSource = Callable[[int], CropSource]


def build_task(settings: TrainSettings, new_source: NewSource | None = None) -> Task:
    """Build the task of ``settings.mode``, with its initial weights and its teacher.

    Args:
        settings: settings of the run.
        new_source: opens the source of crops; ``None``: the packed photos of the settings.

    Raises:
        CheckpointError: a file that does not fit.
        WeightsUnavailableError: initial weights are not on this machine and cannot be fetched.
    """
    if settings.mode == "vae":
        return AutoencoderTask(settings, new_source and new_source(CROP_PX))
    small = replace(SMALL_CONFIG, image_size=settings.image_size)
    if settings.mode == "teacher":
        return TeacherTask(settings, small, source=new_source and new_source(small.image_size))
    if settings.init:
        weights = find_weights(settings.init)
        config, state = weights.config, read_published(weights.denoiser) if weights.denoiser else None
    else:
        config, state = small, None
    distillation = _distillation(settings, config) if settings.mode == "distil" else None
    return DenoiserTask(settings, config, state, distillation, new_source and new_source(config.image_size))


def _distillation(settings: TrainSettings, config: MoebiusConfig) -> Distillation:
    device = choose_device(settings.device)
    teacher = load_teacher(settings.teacher, config).to(device)
    distance = None
    if settings.perceptual:
        distance = load_latent_lpips(settings.perceptual, config.latent_channels).to(device).in_float32
    return Distillation(teacher, settings.balancing, distance)
