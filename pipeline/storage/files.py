"""Single files that a job needs on every machine, such as the models of detectors."""

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from moebius.weights import weights_home
from moebius.weights.hub import HUB, HubError, HubFolder
from pipeline.errors import ConfigError
from pipeline.storage.errors import usable
from pipeline.storage.storage import Storage
from pipeline.storage.weights import FOLDER, copy_missing

MAX_FILE_BYTES = (2 << 30) - 1  # of a message of protocol buffers, as models are

logger = logging.getLogger(__name__)


@usable()
def fetch_file(uri: str, storage_options: Mapping[str, Any], key: str) -> Path:
    """Return the path of a file on this machine, where a remote one is copied to once in each of its versions.

    Args:
        uri: a path, ``hf://owner/repository/path`` or any other uri.
        storage_options: of the uri.
        key: of the configuration, for messages.

    Raises:
        ConfigError: there is no such file, or permission is denied.
        WeightsUnavailableError: this machine has no place for it.
    """
    if uri.startswith(HUB):
        return _fetch_from_hub(uri, key)
    folder, _, name = uri.rpartition("/")
    if "://" not in uri or uri.startswith(("file://", "local://")):
        path = Path(uri.removeprefix("file://").removeprefix("local://"))
        if not path.is_file():
            raise ConfigError(f"{key}: no file at {path}")
        return path
    storage = Storage(folder, storage_options)
    try:
        found = storage.stat(name)
    except FileNotFoundError as error:
        raise ConfigError(f"{key}: no file at {storage.uri(name)}") from error
    if found.size_bytes > MAX_FILE_BYTES:
        raise ConfigError(
            f"{key}: {storage.uri(name)} has {found.size_bytes} bytes, at most {MAX_FILE_BYTES} are taken"
        )
    identity = repr([(name, f"{storage} {found.version}")])
    place = weights_home() / "fetched" / hashlib.sha256(identity.encode()).hexdigest()[:16]
    copy_missing(storage, [found], {}, place)
    return place / name


def publish_file(path: Path, sha256: str, sink: Storage, key: str) -> str:
    """Store a file of this machine below a sink, unless it is there, and return its uri.

    Raises:
        ConfigError: the sink takes no files there.
    """
    target = f"{FOLDER}/{sha256[:16]}/{path.name}"
    with usable(f"{key}: cannot copy it to {sink.uri(target)}, from where the nodes fetch it"):
        stored = {file.key: file.size_bytes for file in sink.list_files(str(PurePosixPath(target).parent))}
        if stored.get(target) != path.stat().st_size:
            size_mb = path.stat().st_size / 1e6
            logger.info("copying %s (%.1f MB) to %s, once", path.name, size_mb, sink.uri(target))
            sink.upload(target, str(path))
    return sink.uri(target)


def sha256_of(path: Path, key: str) -> str:
    """Return the hash of a file in hexadecimal digits.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ConfigError(f"{key}: cannot read {path}: {error.strerror}") from error


def _fetch_from_hub(uri: str, key: str) -> Path:
    folder, _, name = uri.rpartition("/")
    try:
        found = HubFolder.from_uri(folder)
        path = found.fetch([name])
    except ValueError as error:
        raise ConfigError(f"{key}: a file of the hub is hf://owner/repository/path, got {uri}") from error
    except HubError as error:
        raise ConfigError(f"{key}: cannot fetch {uri} ({error}); download it from {found.page}") from error
    if path is None:
        raise ConfigError(f"{key}: {found} holds no {name}")
    return path
