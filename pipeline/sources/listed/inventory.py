"""S3 Inventory: the manifest that names the data files, and their columns."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.errors import ConfigError
from pipeline.storage.storage import Storage

MANIFEST = "manifest.json"
ROLES = {  # by the name of a column, in lower case and without separators
    "key": "key",
    "size": "size",
    "etag": "etag",
    "lastmodifieddate": "last_modified",
    "islatest": "is_latest",
    "isdeletemarker": "is_delete_marker",
}
_PARQUET_FIELD = re.compile(r"(?:optional|required)\s+\w+\s+(\w+)")


@dataclass(frozen=True)
class Inventory:
    """An inventory of a bucket.

    Args:
        bucket: whose objects it lists.
        is_csv: CSV, with encoded keys and without a header; else Parquet.
        columns: names of the columns, in order.
        files: keys of the data files in ``storage``.
        storage: that holds them.
    """

    bucket: str
    is_csv: bool
    columns: list[str]
    files: list[str]
    storage: Storage


def roles_of(columns: Iterable[str]) -> dict[str, str]:
    """Return the columns of an inventory by role; CSV and Parquet spell them differently."""
    plain = ((name, re.sub(r"[\W_]", "", name).lower()) for name in columns)
    return {ROLES[text]: name for name, text in plain if text in ROLES}


def read_inventory(uri: str, options: Mapping[str, Any]) -> Inventory:
    """Read the manifest of an inventory.

    Args:
        uri: of its ``manifest.json``.
        options: of the storage.

    Raises:
        ConfigError: it is none, its files are missing, or they have a format that is not supported.
    """
    try:
        stated = json.loads(Storage(uri, options).read())
        bucket, kind, schema = stated["sourceBucket"], stated["fileFormat"].lower(), stated["fileSchema"]
        files = [file["key"] for file in stated["files"]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"source.uri: {uri} is no manifest of an S3 Inventory ({type(error).__name__}: {error}); other lists are "
            "Parquet, CSV or JSON lines"
        ) from error
    if kind not in ("csv", "parquet"):
        raise ConfigError(f"source.uri: {uri} names files of {kind}: let the inventory be written as CSV or Parquet")
    if not files:
        raise ConfigError(f"source.uri: {uri} names no files: the inventory is empty")
    is_csv = kind == "csv"
    columns = [name.strip() for name in schema.split(",")] if is_csv else _PARQUET_FIELD.findall(schema)
    inventory = Inventory(bucket, is_csv, columns, files, _storage_of(uri, files[0], options))
    if "key" not in roles_of(columns):
        raise ConfigError(f"source.uri: {uri} states a fileSchema without a column Key: {schema}")
    return inventory


def _storage_of(uri: str, key: str, options: Mapping[str, Any]) -> Storage:
    """Open the bucket that holds the data files, or the folder that it was copied to: one above the manifest."""
    scheme, separator, path = uri.rpartition("://")
    folders = path.split("/")[:-1]
    first = 1 if separator else 0
    for end in range(first, len(folders) + 1):
        folder = "/".join(folders[:end]) or "/"
        storage = Storage(f"{scheme}{separator}{folder}", options)
        try:
            storage.stat(key)
        except (FileNotFoundError, NotADirectoryError):
            continue
        return storage
    raise ConfigError(f"source.uri: {uri} names {key}, which is in no folder above it: copy it with its data files")
