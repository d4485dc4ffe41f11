"""Recognises tables of Delta Lake, Iceberg and Hudi, in whose folders Parquet files of deleted rows stay."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from pipeline.errors import ConfigError
from pipeline.storage.storage import Storage

_LOGS = {
    "_delta_log": ("a Delta Lake table", re.compile(r"((?:.*/)?)_delta_log/.+", re.DOTALL)),
    "metadata": ("an Iceberg table", re.compile(r"((?:.*/)?)metadata/[^/]+\.metadata\.json(?:\.gz)?", re.DOTALL)),
    ".hoodie": ("a Hudi table", re.compile(r"((?:.*/)?)\.hoodie/.+", re.DOTALL)),
}
_WILDCARD = re.compile(r"[*?\[]")
_PARTITION = re.compile(r"[^/=]+=[^/]*")


def refuse_tables(storage: Storage, parts: Sequence[str], pattern: str, keys: Iterable[str]) -> None:
    """Refuse files of a table whose log decides which are valid, unless a pattern names them one by one.

    Args:
        storage: of the source.
        parts: keys of the files that are to be read.
        pattern: that found them.
        keys: of all files of the storage.

    Raises:
        ConfigError: naming the table.
    """
    if _WILDCARD.search(pattern):
        for kind, folder in _tables(keys):
            if any(part.startswith(folder) for part in parts):
                raise _refusal(kind, storage.uri(folder.rstrip("/")))


def refuse_inside_of_table(uri: str, pattern: str, options: Mapping[str, Any]) -> None:
    """Refuse a source that is a partition or the data folder of such a table.

    Args:
        uri: of the source.
        pattern: of its files.
        options: of its storage.

    Raises:
        ConfigError: naming the table.
    """
    parent, _, name = uri.rstrip("/").rpartition("/")
    while _PARTITION.fullmatch(name):
        _refuse_logs_in(parent, pattern, options, ("_delta_log", ".hoodie"))
        parent, _, name = parent.rpartition("/")
    if name == "data":
        _refuse_logs_in(parent, pattern, options, ("metadata",))


def _refuse_logs_in(uri: str, pattern: str, options: Mapping[str, Any], folders: Sequence[str]) -> None:
    if not _WILDCARD.search(pattern) or not uri.rpartition("://")[2]:
        return
    with suppress(OSError):  # it may be closed to this job, other than the source
        storage = Storage(uri, options)
        for folder in folders:
            if found := next(_tables(file.key for file in storage.list_files(folder)), None):
                raise _refusal(found[0], str(storage))


def _tables(keys: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield kind and folder of each table that has a log."""
    for key in keys:
        for folder, (kind, log) in _LOGS.items():
            if f"{folder}/" in key and (found := log.fullmatch(key)):
                yield kind, found[1]


def _refusal(kind: str, table: str) -> ConfigError:
    return ConfigError(
        f"{table} is {kind}, where files of deleted rows stay until they are cleaned up, and its log is not read: "
        "export it to plain Parquet files, or name the valid files, as in source.pattern='{a,b}.parquet'"
    )
