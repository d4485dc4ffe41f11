"""Fetches weights from any storage, with one copy per machine."""

import hashlib
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from moebius.weights import CHECKPOINT_NAMES, Weights, find_weights, weights_home
from pipeline.errors import ConfigError
from pipeline.storage.errors import usable
from pipeline.storage.storage import Storage

VAE_FILES = tuple(f"vae/{name}" for name in ("config.json", *CHECKPOINT_NAMES))


@usable()
def fetch_weights(name_or_uri: str, storage_options: Mapping[str, Any]) -> Weights:
    """Find weights by name, path, ``hf://`` or any other uri of a folder or a checkpoint file.

    Raises:
        ConfigError: the uri has no weights, or permission is denied.
        WeightsUnavailableError, CheckpointError: see :func:`moebius.weights.find_weights`.
    """
    if "://" not in name_or_uri or name_or_uri.startswith("hf://"):
        return find_weights(name_or_uri)
    folder_uri, _, name = name_or_uri.rpartition("/")
    is_file = name.endswith((".bin", ".safetensors"))
    storage = Storage(folder_uri if is_file else name_or_uri, storage_options)
    wanted = {name, "config.json", *VAE_FILES} if is_file else {*CHECKPOINT_NAMES, "config.json", *VAE_FILES}
    files = [file for file in storage.list_files() if file.key in wanted]
    if not any(file.key.endswith((".bin", ".safetensors")) and "/" not in file.key for file in files):
        raise ConfigError(f"model.weights: no {name if is_file else ' or '.join(CHECKPOINT_NAMES)} below {storage}")
    identity = repr([str(storage), *sorted((file.key, file.version) for file in files)])
    folder = weights_home() / "fetched" / hashlib.sha256(identity.encode()).hexdigest()[:16]
    for file in files:
        _copy_once(storage, file.key, folder / file.key)
    return find_weights(str(folder / name if is_file else folder))


def _copy_once(storage: Storage, key: str, target: Path) -> None:
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    part.write_bytes(storage.read(key))
    part.replace(target)  # whole or not at all: several workers of a node may fetch at once
