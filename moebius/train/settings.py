"""Settings that a user chooses for a training run. Light to import: nothing here needs PyTorch."""

import importlib.util
import math
from dataclasses import dataclass

from moebius.train.data.random_masks import BRUSHES, PUBLISHED

MODES = ("vae", "diffusion", "teacher", "distil")
BALANCINGS = ("published", "paper")
MIN_NOISE_WEIGHT = 0.5
UNCONDITIONAL_SHARE = 0.1  # of a model that starts from scratch
RANGES = {
    "steps": (1, math.inf),
    "batch_size": (1, math.inf),
    "accumulate": (1, math.inf),
    "threads": (1, math.inf),
    "checkpoint_every": (1, math.inf),
    "log_every": (1, math.inf),
    "ema_decay": (0, 0.999999),
    "unconditional": (0, 1),
    "known_weight": (0, 1),
    "cached": (0, math.inf),
    "image_size": (64, math.inf),
    "noise_cap": (0, math.inf),
    "learning_rate": (0, 1),
    "warmup_steps": (0, math.inf),
    "weight_decay": (0, math.inf),
    "clip_norm": (1e-6, math.inf),
    "seed": (0, 2**63 - 1),
}
NEEDS = {
    "vae": ("photos",),
    "diffusion": ("photos", "vae"),
    "teacher": ("photos", "vae"),
    "distil": ("photos", "vae", "teacher"),
}


@dataclass(frozen=True)
class TrainSettings:
    """Settings of a training run; ``diffusion`` with ``init`` set fine-tunes those weights.

    Args:
        mode: ``vae`` trains the autoencoder, ``diffusion`` the denoiser without a teacher, ``distil`` with one,
            ``teacher`` a small teacher from scratch.
        photos: ``.npz`` file of packed photos, see :mod:`moebius.train.photos`.
        held_out: ``.npz`` file of photos that training never sees; each checkpoint is measured on them, see
            ``validation.csv``. Empty: not measured.
        folder: where checkpoints, logs, grids and weights go; a run that finds a checkpoint there resumes from it.
        vae: folder of the autoencoder, for the denoiser; in mode ``vae``, train only the decoder of this one.
        init: weights to start from, as :func:`moebius.weights.find_weights` takes them; empty: from scratch, at the
            sizes of ``tasks.SMALL_CONFIG``.
        image_size: side of the window of a denoiser or teacher that starts from scratch, in pixels; a multiple of 64.
        teacher: checkpoint of the teacher with published keys, for ``distil``.
        perceptual: file of E-LatentLPIPS weights (``…_latest_vgg16_tuned.pth``), for the perceptual loss of ``distil``;
            empty: without that loss.
        balancing: ``published`` or ``paper``, see :mod:`moebius.train.losses`.
        steps: optimizer steps of the whole run.
        batch_size: crops in one batch and process.
        learning_rate: learning rate after the warm-up.
        warmup_steps: number of steps over which the learning rate grows from 0.
        decay_steps: steps at which the learning rate falls to a tenth.
        weight_decay: decoupled weight decay of matrices.
        clip_norm: maximum norm of the gradient.
        ema_decay: decay of the averaged weights, which are exported.
        masks: kinds of random masks, see :mod:`moebius.train.data.random_masks`: ``thin``, ``medium``, ``thick``,
            ``boxes``, ``fine``.
        unconditional: share of samples with random masks that train the category ids 10–19; null: 0 with ``init``, as
            published, else 0.1.
        accumulate: batches whose gradients are added before a step, for total batches that do not fit into memory.
        cached: crops with a mask whose latents are encoded once and kept, for the denoiser; 0: new ones each step.
        noise_cap: maximum weight of a sample in the loss of ``diffusion``. The weight is (1 − ᾱ)/ᾱ, the error of the
            clean latents ÷ that of the noise, and at least ½. 0: every sample weighs 1, as published.
        uniform_times: train all timesteps equally often, so that the first ones of sampling are learnt early; the
            published distribution draws one in seventy above 900.
        known_weight: weight of positions outside the hole, in the loss of ``diffusion``; 1 as published.
        seed: seed of weights, crops, masks and noise.
        bf16: autocast to bfloat16.
        gradient_checkpointing: compute the inside of the denoiser's blocks again in the backward pass rather than keep
            it: less memory, about a third more time.
        threads: threads of PyTorch on a CPU. One is never slowed down by other programs, and takes the same steps on
            every machine; more are faster on idle cores.
        device: a device of PyTorch, or ``auto``: a GPU where there is one.
        checkpoint_every: steps between checkpoints, and between sample grids.
        log_every: steps between rows of ``losses.csv``.
        tensorboard: write the same figures and the grids for TensorBoard too, below ``folder``.

    Raises:
        ValueError: a value out of range.
    """

    mode: str = "diffusion"
    photos: str = ""
    held_out: str = ""
    folder: str = "out/train"
    vae: str = ""
    init: str = ""
    image_size: int = 128
    teacher: str = ""
    perceptual: str = ""
    balancing: str = "published"
    steps: int = 1000
    batch_size: int = 16
    learning_rate: float = 1e-3
    warmup_steps: int = 50
    decay_steps: tuple[int, ...] = ()
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    ema_decay: float = 0.999
    masks: tuple[str, ...] = PUBLISHED
    unconditional: float | None = None
    accumulate: int = 1
    cached: int = 0
    noise_cap: float = 0.0
    uniform_times: bool = False
    known_weight: float = 1.0
    seed: int = 0
    bf16: bool = False
    gradient_checkpointing: bool = False
    threads: int = 1
    device: str = "auto"
    checkpoint_every: int = 100
    log_every: int = 10
    tensorboard: bool = False

    def __post_init__(self) -> None:
        for name in ("decay_steps", "masks"):
            if not isinstance(getattr(self, name), list | tuple):
                raise ValueError(f"{name} must be a list, got {getattr(self, name)}")
            object.__setattr__(self, name, tuple(getattr(self, name)))  # YAML has lists only
        for name, choices in (("mode", MODES), ("balancing", BALANCINGS)):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}, got {getattr(self, name)}")
        if not self.masks or not set(self.masks) <= set(BRUSHES):
            raise ValueError(f"masks must be some of {', '.join(BRUSHES)}, got {', '.join(self.masks) or 'none'}")
        self._check_numbers()
        if self.image_size % 64:
            raise ValueError(f"image_size must be a multiple of 64, got {self.image_size}")
        for name in NEEDS[self.mode]:
            if not self.has(name):
                raise ValueError(f"mode {self.mode} needs {name}, got none")
        self._check_packages()

    def has(self, name: str) -> bool:
        """Return whether an input that the mode needs is given."""
        return bool(getattr(self, name))

    @property
    def unconditional_share(self) -> float:
        """Return ``unconditional``, or what null stands for."""
        if self.unconditional is None:
            return 0.0 if self.init else UNCONDITIONAL_SHARE
        return self.unconditional

    def _check_packages(self) -> None:
        if self.mode in ("teacher", "distil") and importlib.util.find_spec("diffusers") is None:
            raise ValueError(f"mode {self.mode} needs diffusers: pip install -c constraints.txt -e '.[train]'")
        if self.tensorboard and importlib.util.find_spec("tensorboard") is None:
            raise ValueError("tensorboard=true needs TensorBoard: pip install -c constraints.txt -e '.[train]'")

    def _check_numbers(self) -> None:
        for name, (least, most) in RANGES.items():
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
                limits = f"at least {least}" if most == math.inf else f"in {least} … {most}"
                raise ValueError(f"{name} must be {limits}, got {value}")
        if min(self.decay_steps, default=1) < 1:
            raise ValueError(f"decay_steps must be at least 1, got {', '.join(map(str, self.decay_steps))}")
        if self.mode == "vae" and self.batch_size < 2:
            raise ValueError("mode vae needs a batch_size of 2 at least: half the crops have no hole")
        if self.mode == "teacher" and self.init:
            raise ValueError(f"a teacher starts from scratch: leave init empty, got {self.init}")
        if 0 < self.noise_cap < MIN_NOISE_WEIGHT:
            raise ValueError(f"noise_cap must be 0 or at least {MIN_NOISE_WEIGHT}, got {self.noise_cap}")
