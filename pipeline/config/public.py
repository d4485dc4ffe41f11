"""A configuration as it may be shown: its values without secrets, and the keys that decide results."""

from dataclasses import asdict
from typing import Any

from pipeline.config.deciding import SCHEDULING, indifferent
from pipeline.config.job import JobConfig
from pipeline.config.mask import MaskConfig
from pipeline.config.notify import public_notify
from pipeline.config.signing import public_signing
from pipeline.uris import public_uri

_DECIDING_OTHERS = (
    *("sink.format", "sink.image_format", "sink.metadata", "sink.c2pa", "sink.carry"),
    "source.image",
)


def deciding_keys(config: JobConfig) -> list[str]:
    """Return the keys whose values :attr:`JobConfig.fingerprint` covers, such as ``model.steps``."""
    sections = {
        "model": (config.model, SCHEDULING),
        "mask": (config.mask, indifferent(config.mask)),
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
    public["sink"]["c2pa"] = public_signing(config.sink.c2pa)
    public["run"]["notify"] = public_notify(config.run.notify)
    return public


def _public_part(mask: MaskConfig) -> dict[str, Any]:
    """Return the keys of one of several masks that differ from their defaults, without secrets."""
    usual, kept = asdict(MaskConfig()), asdict(mask)
    public = {key: value for key, value in kept.items() if value != usual[key]}
    cleaned = {"uri": public_uri, "model": _public_model}
    return {key: cleaned[key](value) if key in cleaned else value for key, value in public.items()}


def _public_model(model: Any) -> Any:
    """Return what describes a detector, a uri or several, without secrets."""
    if isinstance(model, dict):
        return {key: _public_model(value) for key, value in model.items()}
    if isinstance(model, list):
        return [_public_model(value) for value in model]
    return public_uri(model) if isinstance(model, str) else model
