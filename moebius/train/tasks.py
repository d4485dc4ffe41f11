"""What can be trained, by the name of its mode."""

from moebius.checkpoint import read_state_dict
from moebius.config import MoebiusConfig
from moebius.train.autoencoder import AutoencoderTask
from moebius.train.denoising import DenoiserTask
from moebius.train.devices import choose_device
from moebius.train.distillation import Distillation
from moebius.train.latent_lpips import load_latent_lpips
from moebius.train.loop import Task
from moebius.train.settings import TrainSettings
from moebius.train.teacher import load_teacher
from moebius.weights import find_weights

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


def build_task(settings: TrainSettings) -> Task:
    """The task of ``settings.mode``, with the weights it starts from and the teacher it learns from.

    Raises:
        CheckpointError: a file that does not fit.
        WeightsUnavailableError: weights to start from that are not to be had.
    """
    if settings.mode == "vae":
        return AutoencoderTask(settings)
    distillation = None
    if settings.mode == "distil":
        device = choose_device(settings.device)
        teacher = load_teacher(settings.teacher).to(device)
        distance = (
            load_latent_lpips(settings.perceptual).to(device).between_predictions if settings.perceptual else None
        )
        distillation = Distillation(teacher, settings.balancing, distance)
    if not settings.init:
        return DenoiserTask(settings, SMALL_CONFIG, distillation=distillation)
    weights = find_weights(settings.init)
    state = read_state_dict(weights.denoiser) if weights.denoiser else None
    return DenoiserTask(settings, weights.config, state, distillation)
