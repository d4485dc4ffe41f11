"""What a user chooses about a training run. Light to import: nothing here needs PyTorch."""

from dataclasses import dataclass

MODES = ("vae", "diffusion", "distil")
BALANCINGS = ("published", "paper")
NEEDS = {"vae": ("photos",), "diffusion": ("photos", "vae"), "distil": ("photos", "vae", "teacher")}


@dataclass(frozen=True)
class TrainSettings:
    """How a model is trained; ``diffusion`` with ``init`` set fine-tunes those weights.

    Args:
        mode: ``vae`` trains the autoencoder, ``diffusion`` the denoiser alone, ``distil`` the denoiser with a teacher.
        photos: ``.npz`` file of packed photos, see :mod:`moebius.train.photos`.
        folder: where checkpoints, logs, grids and weights go; a run that finds a checkpoint there goes on from it.
        vae: folder of the autoencoder, for the denoiser.
        init: weights to start from, as :func:`moebius.weights.find_weights` takes them; empty: from scratch, at the
            sizes of ``tasks.SMALL_CONFIG``.
        teacher: checkpoint of the teacher with published keys, for ``distil``.
        balancing: ``published`` or ``paper``, see :mod:`moebius.train.losses`.
        steps: optimizer steps of the whole run.
        batch_size: crops in one step and process.
        learning_rate: after the warm-up.
        warmup_steps: over which the rate grows from nothing.
        decay_steps: steps at which the rate falls to a tenth.
        weight_decay: decoupled, of matrices.
        clip_norm: largest norm of the gradient.
        ema_decay: of the averaged weights; they are what is exported.
        unconditional: share of samples that train the category ids 10–19.
        seed: of weights, crops, masks and noise.
        bf16: autocast to bfloat16.
        device: a device of PyTorch, or ``auto``: a GPU where there is one.
        checkpoint_every: steps between checkpoints, and between sample grids.
        log_every: steps between rows of ``losses.csv``.

    Raises:
        ValueError: a value out of range.
    """

    mode: str = "diffusion"
    photos: str = ""
    folder: str = "out/train"
    vae: str = ""
    init: str = ""
    teacher: str = ""
    balancing: str = "published"
    steps: int = 1000
    batch_size: int = 16
    learning_rate: float = 1e-3
    warmup_steps: int = 50
    decay_steps: tuple[int, ...] = ()
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    ema_decay: float = 0.999
    unconditional: float = 0.1
    seed: int = 0
    bf16: bool = False
    device: str = "auto"
    checkpoint_every: int = 100
    log_every: int = 10

    def __post_init__(self) -> None:
        object.__setattr__(self, "decay_steps", tuple(self.decay_steps))  # YAML has lists only
        if self.mode not in MODES:
            raise ValueError(f"mode must be one of {', '.join(MODES)}, got {self.mode}")
        for name in ("steps", "batch_size", "checkpoint_every", "log_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.balancing not in BALANCINGS:
            raise ValueError(f"balancing must be one of {', '.join(BALANCINGS)}, got {self.balancing}")
        for name in NEEDS[self.mode]:
            if not getattr(self, name):
                raise ValueError(f"mode {self.mode} needs {name}, got none")
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"ema_decay must be in [0, 1), got {self.ema_decay}")
        if not 0 <= self.unconditional <= 1:
            raise ValueError(f"unconditional must be in [0, 1], got {self.unconditional}")
