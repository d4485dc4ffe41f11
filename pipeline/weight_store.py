"""Weights from any storage: what lies behind a uri is copied once to this machine, then found as local files."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from moebius.weights import CHECKPOINT_NAMES, Weights, find_weights, weights_home
from pipeline.errors import ConfigError
from pipeline.storage import Storage

WEIGHT_FILES = {*CHECKPOINT_NAMES, "config.json", "vae/config.json", *(f"vae/{name}" for name in CHECKPOINT_NAMES)}


def fetch_weights(name_or_uri: str, storage_options: Mapping[str, Any]) -> Weights:
    """Find weights by name, path, ``hf://`` or any other uri of a folder.

    Raises:
        ConfigError: a uri with no weights behind it.
        WeightsUnavailableError, CheckpointError: see :func:`moebius.weights.find_weights`.
    """
    if "://" not in name_or_uri or name_or_uri.startswith("hf://"):
        return find_weights(name_or_uri)
    storage = Storage(name_or_uri, storage_options)
    files = [file for file in storage.list_files() if file.key in WEIGHT_FILES]
    if not files:
        raise ConfigError(f"model.weights: no {' or '.join(CHECKPOINT_NAMES)} below {storage}")
    identity = repr([str(storage), *sorted((file.key, file.version) for file in files)])
    folder = weights_home() / "fetched" / hashlib.sha256(identity.encode()).hexdigest()[:16]
    for file in files:
        _copy_once(storage, file.key, folder / file.key)
    return find_weights(str(folder))


def _copy_once(storage: Storage, key: str, target: Path) -> None:
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.{os.getpid()}")
    part.write_bytes(storage.read(key))
    part.replace(target)  # whole or not at all: several workers of a node may fetch at once
