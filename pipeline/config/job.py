"""The configuration of a job as frozen dataclasses; the keys are those of ``conf/*.yaml``."""

import contextlib
import hashlib
import json
import re
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

from moebius.inference.settings import InpaintSettings
from moebius.network.config import MoebiusConfig
from moebius.weights.hub import HUB_WEIGHTS
from pipeline.config.data import MaskConfig, SinkConfig, SourceConfig, absolute_uri, as_extension, choose
from pipeline.config.notify import parse_notify, public_notify
from pipeline.config.slice import Slice
from pipeline.config.verify import MASK, VerifyConfig, described
from pipeline.errors import ConfigError
from pipeline.uris import public_uri

_LATER_KEYS = (
    *("guidance_interval", "sampler", "noise_offset", "latent_mask", "start", "refine", "candidates"),
    *("member", "column", "channel", "upright", "columns", "where", "labels", "class_names"),
    *("model", "model_sha256", "output", "classes", "score", "input", "tile_px", "device", "function", "version"),
    *("letters", "offset", "size", "repeat", "find", "max_opacity", "missing"),
)
_ERROR_TYPE = re.compile(r"[A-Z]\w*|error")  # the latter of struct and zlib
_ACTORS = re.compile(r"(\d+)(?:\.\.(\d+))?")  # of run.actors
_ONE_KIND = ("columns", "where", "class_names")  # keys of masks that most kinds have no use for
_OF_SAMPLES = ("missing",)  # decides which samples have a mask, as their versions say
_SCHEDULING = ("weights", "batch_size")  # weights have a fingerprint of their own
_DECIDING_OTHERS = ("sink.format", "sink.image_format", "sink.carry", "source.image")


@dataclass(frozen=True)
class ModelConfig:
    """Which model, and how it samples.

    Args:
        weights: ``nano``, ``places2``, ``celebahq``, ``ffhq``, ``pretrained``, or a folder or file, local or remote,
            ``hf://`` too; ``untrained`` is a stand-in that shows the pipeline, not the model.
        steps: number of sampling steps.
        guidance: scale of latent categories guidance; 1 halves the work. ``auto`` takes what is recommended for the
            weights: 1 for ``nano``, 2.5 for ``places2``, and for others ``guidance`` in their ``config.json``, else 2.
        guidance_interval: first and last timestep, in 0 … 999, that are guided; the others cost half.
        sampler: ``ddim``, as published, or ``dpm++``, for fewer steps.
        strength: 1 starts from pure noise; less starts from ``start`` noised to the first step.
        start: ``photo``, as published: a little of what was in the hole shows at strengths below 1. ``colours``: spread
            over the hole from around it, so that nothing of it does, with a third less work for the autoencoder.
            ``auto``: ``colours`` for ``nano``, which was trained so, else ``photo``.
        noise_offset: standard deviation of one more random number per window and channel in the start noise; published
            sampling has 0.0357.
        latent_mask: ``any``: a position of the latents is filled if any of its 8×8 pixels is; ``nearest``: only its
            first pixel decides, as published, which loses thin strokes.
        candidates: fills of each window, each from noise of its own, of which that with the least visible seam is kept;
            4 fills take four times the work of 1.
        seed: decides all randomness, together with the sample's id.
        fast: use the optimized denoiser where it is faster; false uses the plain one, equal within rounding.
        precision: ``fp32``, ``bf16``, ``fp16`` (GPUs only), or ``auto``: bf16 on GPUs, fp32 on CPUs.
        batch_size: windows in one call of the model; ``auto``: 16 on GPUs; on CPUs 4 for a small model, 1 for a large
            one.
    """

    weights: str = "nano"
    steps: int = 20
    guidance: int | float | str = 2.0
    guidance_interval: list[int] = field(default_factory=lambda: [0, 999])
    sampler: str = "ddim"
    strength: float = 0.99
    start: str = "auto"
    noise_offset: float = 0.0
    latent_mask: str = "any"
    candidates: int = 1
    seed: int = 0
    fast: bool = True
    precision: str = "auto"
    batch_size: int | str = "auto"

    def __post_init__(self) -> None:
        with contextlib.suppress(ValueError):  # of auto; other words are refused with the settings of the model
            object.__setattr__(self, "guidance", float(self.guidance))
        if self.weights not in ("nano", "untrained", *HUB_WEIGHTS):
            object.__setattr__(self, "weights", absolute_uri(self.weights, "model.weights"))


@dataclass(frozen=True)
class WindowConfig:
    """How windows are cut around holes.

    Args:
        context: side of a window ÷ longest side of its hole.
        max_upscale: largest factor by which small surroundings are magnified.
        refine: strength of a second pass over holes too large for a window at native resolution, which are filled at
            reduced scale first: overlapping windows at native resolution start from that fill. Below 1, such as 0.5;
            0: no second pass.
    """

    context: float = 1.5
    max_upscale: float = 1.0
    refine: float = 0.0


@dataclass(frozen=True)
class RunConfig:
    """How the job runs.

    Args:
        actors: number of workers; ``auto``: one per GPU, or without GPUs one per four CPU cores; ``1..8``: at least 1,
            at most 8. The last two follow the cluster: workers are added when nodes join during the run.
        gpus_per_actor: GPUs per worker; with a fraction, workers share a GPU; ``auto``: 1 if the cluster has GPUs.
        wait_for_gpus: seconds to wait for the first GPU of a cluster that has none yet, such as one that starts with
            its head node; 0 does not wait.
        address: address of the Ray cluster; null means ``RAY_ADDRESS``, else a local cluster for this job.
        slice: process only one slice of the samples, such as ``0/8``, ``1/8`` … ``7/8``, so that eight drivers work on
            one sink at once, see [several drivers](../how-to/operations.md#several-drivers-on-one-sink).
        resume: continue with a sink that holds results; false refuses it.
        select: redo the samples whose rows make this SQL expression true, such as ``seam_score > 2``, in addition to
            new and changed ones. All other rows stay, also those of other weights or settings.
        retry_failed: retry failed samples: true for all, or their error types, such as ``MissingMask,FileNotFound``.
        redo_changed: redo results of other weights or settings.
        report: write ``report.html`` into the sink when the run ends and has done something.
        log: format of the driver's log: ``text``, or ``json`` for log collectors.
        notify: a command, or the http(s) URL of a webhook, that gets the run's JSON when the run has ended, however it
            ended.
    """

    actors: int | str = "auto"
    gpus_per_actor: int | float | str = "auto"
    wait_for_gpus: float = 0.0
    address: str | None = None
    slice: str | None = None
    resume: bool = True
    select: str | None = None
    retry_failed: bool | str = False
    redo_changed: bool = False
    report: bool = True
    log: str = "text"
    notify: Any = field(default=None, repr=False)  # its path or arguments may be secrets

    def __post_init__(self) -> None:
        least, most = self.actor_bounds
        if not 1 <= least <= (least if most is None else most):
            raise ConfigError(
                f"run.actors must be auto, a positive number or a range such as 1..8, got {self.actors!r}"
            )
        if self.wait_for_gpus < 0:
            raise ConfigError(f"run.wait_for_gpus must be a number of seconds or 0, got {self.wait_for_gpus:g}")
        if self.select is not None and not self.select.strip():
            raise ConfigError("run.select must be an SQL expression over the columns of the manifest, or null")
        if self.gpus_per_actor != "auto" and (isinstance(self.gpus_per_actor, str) or self.gpus_per_actor < 0):
            raise ConfigError(f"run.gpus_per_actor must be auto or a number, got {self.gpus_per_actor!r}")
        if unknown := [name for name in self.retried_types if not _ERROR_TYPE.fullmatch(name)]:
            raise ConfigError(
                f"run.retry_failed must be true, false or error types such as MissingMask, got {unknown[0]!r}"
            )
        _ = self.own_slice
        choose("run.log", self.log, ("text", "json"))
        parse_notify(self.notify)

    @property
    def actor_bounds(self) -> tuple[int, int | None]:
        """Return the smallest and the largest number of workers; ``None``: as many as the cluster has room for.

        Both are 0 where ``actors`` is invalid, which the constructor refuses.
        """
        if self.actors == "auto":
            return 1, None
        if not (bounds := _ACTORS.fullmatch(str(self.actors))):
            return 0, 0
        least, most = bounds.groups()
        return int(least), int(most or least)

    @property
    def own_slice(self) -> Slice | None:
        """The slice that this run processes; ``None`` for the whole sink."""
        return None if self.slice is None else Slice.parse(self.slice)

    @property
    def retried_types(self) -> list[str]:
        """Error types whose samples are to be done again, where they are named."""
        return [] if isinstance(self.retry_failed, bool) else re.findall(r"[^,\s]+", self.retry_failed)


@dataclass(frozen=True)
class LimitsConfig:
    """Bounds on inputs, time and failures.

    Args:
        max_pixels: pixels of an image or a mask, checked before decoding.
        max_bytes: bytes of a compressed image with its mask, checked before reading.
        max_failed_fraction: share of all samples that may fail; above it the exit code is 3.
        sample_s: seconds that one step of a sample (decoding, encoding, a window in the model) may take; a step that
            takes longer is retried once, and then fails the sample as ``TimedOut``.
        stall_s: seconds after which the job ends when workers complete no step of any sample and meet only faults of
            their environment (storage, credentials, devices); the same command finishes the rest.
        suspicious: treatment of fills of one flat colour, black or white: ``keep`` them, marked in the manifest, or
            ``fail`` their samples.
    """

    max_pixels: int = 200_000_000
    max_bytes: int = 500_000_000
    max_failed_fraction: float = 0.05
    sample_s: float = 600.0
    stall_s: float = 600.0
    suspicious: str = "keep"

    def __post_init__(self) -> None:
        for key in ("max_pixels", "max_bytes"):
            if getattr(self, key) < 1:
                raise ConfigError(f"limits.{key} must be positive, got {getattr(self, key)}")
        for key in ("sample_s", "stall_s"):
            if not getattr(self, key) > 0:
                raise ConfigError(f"limits.{key} must be positive, got {getattr(self, key)}")
        if not 0 <= self.max_failed_fraction <= 1:
            raise ConfigError(f"limits.max_failed_fraction must be in 0 … 1, got {self.max_failed_fraction}")
        choose("limits.suspicious", self.suspicious, ("keep", "fail"))


@dataclass(frozen=True)
class JobConfig:
    """One inpainting job.

    Args:
        storage: Options of fsspec, such as ``endpoint_url``, see [storage](../how-to/storage.md#storage). Prefer the
            environment for credentials.
    """

    source: SourceConfig = field(default_factory=SourceConfig)
    mask: MaskConfig = field(default_factory=MaskConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    window: WindowConfig = field(default_factory=WindowConfig)
    sink: SinkConfig = field(default_factory=SinkConfig)
    run: RunConfig = field(default_factory=RunConfig)
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    verify: VerifyConfig = field(default_factory=VerifyConfig)
    storage: dict[str, Any] = field(default_factory=dict, repr=False)  # may hold secrets

    def __post_init__(self) -> None:
        try:
            _ = self.inpaint_settings
        except ValueError as error:
            section = "window" if str(error).split()[0] in WindowConfig.__dataclass_fields__ else "model"
            raise ConfigError(f"{section}.{error}") from error
        for part in self.mask.parts:
            for key in _ONE_KIND:
                if getattr(part, key) and key not in part.rules.own_keys:
                    raise ConfigError(f"mask.{key} has no meaning for mask.kind={part.kind}")
            part.rules.check(self.source.format)
        _ = self.verifying_detector
        if self.source.rules.has_members:
            carried = [as_extension(name) for name in self.sink.carry]
            object.__setattr__(self, "sink", replace(self.sink, carry=carried))
        has_more = self.source.rules.is_sharded or self.source.rules.is_list
        if self.sink.carry and not (has_more and self.sink.is_sharded):
            raise ConfigError("sink.carry needs a sink of shards, and a source that has columns or members")

    @property
    def inpaint_settings(self) -> InpaintSettings:
        """Return the settings of the model, windows included."""
        model, window = self.model, self.window
        return InpaintSettings(
            steps=model.steps,
            guidance=model.guidance,
            guidance_interval=tuple(model.guidance_interval),
            sampler=model.sampler,
            strength=model.strength,
            start=model.start,
            noise_offset=model.noise_offset,
            latent_mask=model.latent_mask,
            candidates=model.candidates,
            fast=model.fast,
            precision=model.precision,
            batch_size=model.batch_size,
            context=window.context,
            max_upscale=window.max_upscale,
            refine=window.refine,
        )

    def for_weights(self, recommended: MoebiusConfig) -> "JobConfig":
        """Return the configuration with the recommendations of weights in place of ``auto``.

        So fingerprints, and with them results, are those of the same number written out.
        """
        if self.model.guidance != "auto":
            return self
        return replace(self, model=replace(self.model, guidance=recommended.guidance))

    @property
    def verifying_detector(self) -> MaskConfig | None:
        """Return the detector that looks at results, see :meth:`VerifyConfig.detector`."""
        return self.verify.detector(self.mask)

    def with_detectors(self, change: Callable[[MaskConfig], MaskConfig]) -> "JobConfig":
        """Return the job with a change made to its masks and to the detector that verifies results."""
        verify, detector = self.verify, self.verifying_detector
        if detector and verify.model != MASK:
            verify = replace(verify, model=described(change(detector)))
        mask = replace(change(self.mask), also=[change(part) for part in self.mask.also])
        return replace(self, mask=mask, verify=verify)

    @cached_property
    def fingerprint(self) -> str:
        """Identity of everything but the weights that decides a result; places, limits and scheduling do not.

        Masks that a detector finds have one only after :func:`pipeline.masks.base.pinned`, and ``auto`` says nothing
        before :meth:`for_weights`.
        """
        for part in self.mask.parts:
            part.rules.check_pinned()
        assert self.model.guidance != "auto"
        deciding: dict[str, Any] = {
            "mask": _deciding_of_mask(self.mask),
            "model": _deciding(self.model, _SCHEDULING),
            "window": _deciding(self.window, ()),
            "image_format": self.sink.image_format,
            "sink": (self.sink.format, self.sink.carry),
        }
        if self.mask.also:
            deciding["also"] = [_deciding_of_mask(part) for part in self.mask.also]
        if self.source.image:
            deciding["image"] = self.source.image
        if detector := self.verifying_detector:
            detector.rules.check_pinned()
            deciding["verify"] = asdict(self.verify) | {"model": _deciding_of_mask(detector)}
        return hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()[:16]


def deciding_keys(config: JobConfig) -> list[str]:
    """Return the keys whose values :attr:`JobConfig.fingerprint` covers, such as ``model.steps``."""
    sections = {
        "model": (config.model, _SCHEDULING),
        "mask": (config.mask, _indifferent(config.mask)),
        "window": (config.window, ()),
        "verify": (config.verify, () if config.verifying_detector else vars(config.verify).keys() - {"model"}),
    }
    inside = [
        f"{name}.{key}" for name, (section, others) in sections.items() for key in vars(section) if key not in others
    ]
    return [*inside, *_DECIDING_OTHERS]


def public_configuration(config: JobConfig) -> dict[str, Any]:
    """Return the configuration without secrets: of uris, every storage option, and who is notified."""
    public = asdict(config) | {"storage": dict.fromkeys(config.storage, "***")}
    for section, key in (("source", "uri"), ("mask", "uri"), ("sink", "uri"), ("model", "weights")):
        public[section][key] = public_uri(public[section][key])
    public["mask"]["also"] = [_public_part(part) for part in config.mask.also]
    for section in ("mask", "verify"):
        public[section]["model"] = _public_model(public[section]["model"])
    public["source"]["root"] = config.source.root and public_uri(config.source.root)
    public["run"]["notify"] = public_notify(config.run.notify)
    return public


def _public_part(mask: MaskConfig) -> dict[str, Any]:
    """Return the keys of one of several masks that differ from their defaults, without secrets."""
    usual, kept = asdict(MaskConfig()), asdict(mask)
    public = {key: value for key, value in kept.items() if value != usual[key]}
    cleaned = {"uri": public_uri, "model": _public_model}
    return {key: cleaned[key](value) if key in cleaned else value for key, value in public.items()}


def _deciding_of_mask(mask: MaskConfig) -> dict[str, Any]:
    """Return the keys of a mask that decide a result; whether it may be missing is told by the version of a sample."""
    return _deciding(mask, (*_indifferent(mask), "also"))


def _indifferent(mask: MaskConfig) -> list[str]:
    return [*mask.rules.indifferent, *(key for key in _OF_SAMPLES if key not in mask.rules.own_keys)]


def _public_model(model: Any) -> Any:
    """Return what describes a detector, a uri or several, without secrets."""
    if isinstance(model, dict):
        return {key: _public_model(value) for key, value in model.items()}
    if isinstance(model, list):
        return [_public_model(value) for value in model]
    return public_uri(model) if isinstance(model, str) else model


def _deciding(section: ModelConfig | MaskConfig | WindowConfig, others: Collection[str]) -> dict[str, Any]:
    """Keys that came later are left out at their defaults, so that sinks from before stay as they are."""
    usual, kept = asdict(type(section)()), asdict(section)
    return {
        key: value
        for key, value in kept.items()
        if key not in others and (key not in _LATER_KEYS or value != usual[key])
    }
