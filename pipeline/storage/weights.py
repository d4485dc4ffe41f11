"""Fetches weights from any storage, with one copy per machine, and stores weights where other machines can fetch them.

A folder with a file ``SHA256SUMS`` (the format of ``sha256sum``) is verified by it, also the copy on this machine.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import logging
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from os.path import getsize
from pathlib import Path
from typing import Any

from moebius.weights import CHECKPOINT_NAMES, Weights, WeightsUnavailableError, find_weights, weights_home
from pipeline.errors import ConfigError
from pipeline.storage.errors import usable
from pipeline.storage.storage import Storage, StoredFile

FOLDER, SUMS, CONFIG = "weights", "SHA256SUMS", "config.json"
VAE_FILES = tuple(f"vae/{name}" for name in (CONFIG, *CHECKPOINT_NAMES))
BLOCK_BYTES = 128 << 20
_NO_PLACE = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS)

logger = logging.getLogger(__name__)


@usable()
def fetch_weights(name_or_uri: str, storage_options: Mapping[str, Any]) -> Weights:
    """Find weights by name, path, ``hf://`` or any other uri of a folder or a checkpoint file.

    Raises:
        ConfigError: the uri has no weights, or permission is denied.
        WeightsUnavailableError: this machine has no place for them, or the bytes are not those of ``SHA256SUMS``; see
            also :func:`moebius.weights.find_weights`.
        CheckpointError: see :func:`moebius.weights.find_weights`.
    """
    if "://" not in name_or_uri or name_or_uri.startswith("hf://"):
        return find_weights(name_or_uri)
    folder_uri, _, name = name_or_uri.rpartition("/")
    is_file = name.endswith((".bin", ".safetensors"))
    storage = Storage(folder_uri if is_file else name_or_uri, storage_options)
    wanted = {name, CONFIG, *VAE_FILES} if is_file else {*CHECKPOINT_NAMES, CONFIG, *VAE_FILES}
    listed = {file.key: file for file in storage.list_files() if file.key in wanted | {SUMS}}
    sums = _parse_sums(storage.read(SUMS)) if SUMS in listed else {}
    if absent := sorted(wanted & sums.keys() - listed.keys()):
        raise ConfigError(f"model.weights: {storage} lacks {absent[0]}, which its SHA256SUMS names")
    files = [file for key, file in sorted(listed.items()) if key in wanted]
    if not any(file.key.endswith((".bin", ".safetensors")) and "/" not in file.key for file in files):
        raise ConfigError(f"model.weights: no {name if is_file else ' or '.join(CHECKPOINT_NAMES)} below {storage}")
    identity = [(file.key, sums.get(file.key) or f"{storage} {file.version}") for file in files]
    folder = weights_home() / "fetched" / hashlib.sha256(repr(identity).encode()).hexdigest()[:16]
    copy_missing(storage, files, sums, folder)
    return find_weights(str(folder / name if is_file else folder))


def publish_weights(weights: Weights, sink: Storage) -> str:
    """Store weights of this machine below a sink, unless they are there, and return the uri of their folder.

    The folder has the fingerprint as its name, so weights are stored once; ``SHA256SUMS`` is written last.

    Raises:
        ConfigError: the sink takes no files there.
        ValueError: the weights have no files.
    """
    if weights.denoiser is None or weights.vae is None:
        raise ValueError(f"{weights.name} has no files to store")
    folder = f"{FOLDER}/{weights.fingerprint}"
    with usable(f"model.weights: cannot copy them to {sink.uri(folder)}, from where the nodes fetch them"):
        files = _files_by_key(weights.denoiser, weights.vae, weights.sha256)
        stored = {file.key: file.size_bytes for file in sink.list_files(folder)}
        missing = {key: path for key, (path, _) in files.items() if stored.get(f"{folder}/{key}") != getsize(path)}
        if missing:
            size_mb = sum(map(getsize, missing.values())) / 1e6
            logger.info("copying weights %s (%.1f MB) to %s, once", weights.name, size_mb, sink.uri(folder))
        for key, path in missing.items():
            sink.upload(f"{folder}/{key}", str(path))
        sizes = json.dumps(asdict(weights.config)).encode()
        sums = {key: sha256 for key, (_, sha256) in files.items()} | {CONFIG: hashlib.sha256(sizes).hexdigest()}
        for key, data in ((CONFIG, sizes), (SUMS, _format_sums(sums))):
            with contextlib.suppress(FileExistsError):
                sink.create(f"{folder}/{key}", data)
    return sink.uri(folder)


def _files_by_key(denoiser: Path, vae: Path, sha256: Mapping[str, str]) -> dict[str, tuple[Path, str]]:
    """Return path and hash of each file by its key in a folder of weights."""
    name = CHECKPOINT_NAMES[denoiser.suffix != ".safetensors"]
    files = {key: (vae / key.removeprefix("vae/"), value) for key, value in sha256.items() if key.startswith("vae/")}
    return {name: (denoiser, sha256[denoiser.name]), **files}


def _format_sums(sums: Mapping[str, str]) -> bytes:
    return "".join(f"{value}  {key}\n" for key, value in sorted(sums.items())).encode()


def _parse_sums(text: bytes) -> dict[str, str]:
    entries = (line.split(maxsplit=1) for line in text.decode("utf-8", "replace").splitlines())
    return {entry[1].lstrip("*").removeprefix("./"): entry[0].lower() for entry in entries if len(entry) == 2}


def copy_missing(storage: Storage, files: list[StoredFile], sums: Mapping[str, str], folder: Path) -> None:
    """Copy the files that are not on this machine; one process of the machine copies while others wait."""

    def missing() -> list[StoredFile]:
        return [file for file in files if not _is_whole(folder / file.key, sums.get(file.key))]

    if missing():
        with _place_for(folder):
            folder.mkdir(parents=True, exist_ok=True)
            lock = (folder / ".lock").open("wb")
        with lock:
            with contextlib.suppress(OSError):  # some network disks have no locks; there several may copy
                fcntl.flock(lock, fcntl.LOCK_EX)
            for file in missing():
                _copy(storage, file, sums.get(file.key), folder)


def _is_whole(path: Path, sha256: str | None) -> bool:
    if not path.exists():
        return False
    with path.open("rb") as file:
        return sha256 is None or hashlib.file_digest(file, "sha256").hexdigest() == sha256


def _copy(storage: Storage, source: StoredFile, sha256: str | None, folder: Path) -> None:
    target = folder / source.key
    part = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    digest = hashlib.sha256()
    try:
        with _place_for(folder):
            target.parent.mkdir(exist_ok=True)
            part.touch()
        for start in range(0, source.size_bytes, BLOCK_BYTES):
            span = (start, min(start + BLOCK_BYTES, source.size_bytes))
            block = storage.read(source.key, source.version, span)
            digest.update(block)
            with _place_for(folder), part.open("ab") as file:
                file.write(block)
        if sha256 and digest.hexdigest() != sha256:
            raise WeightsUnavailableError(
                f"{storage.uri(source.key)} does not have the bytes that SHA256SUMS beside it names: delete the "
                "folder if a job has made it, and the next run copies the weights again"
            )
        part.replace(target)  # whole or not at all, for processes without a lock
    finally:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def _place_for(folder: Path) -> Iterator[None]:
    """Raise what keeps a file from being written to this machine as a fault of the machine, with the remedy."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_PLACE:
            raise
        raise WeightsUnavailableError(
            f"cannot keep weights in {folder}: {error.strerror}. Set MOEBIUS_HOME to a folder with room for them"
        ) from error
