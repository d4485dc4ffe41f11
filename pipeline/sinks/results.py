"""Reads results by their manifest rows."""

from collections.abc import Mapping
from typing import Any

from pipeline.sinks.shards import format_of
from pipeline.storage.storage import Storage


def read_result(row: Mapping[str, Any], storage_options: Mapping[str, Any]) -> bytes:
    """Read the encoded image that a manifest row names, from a file or a shard.

    Args:
        row: with ``output_uri`` and ``output_member``.
        storage_options: of the sink.
    """
    uri = row["output_uri"]
    scheme = uri.find("://")
    # On object stores, open only the bucket or first folder: "::" has a meaning in uris.
    end = uri.rfind("/") if scheme < 0 else uri.find("/", scheme + len("://") + 1)
    folder, name = uri[:end], uri[end + 1 :]
    storage = Storage(folder, storage_options)
    if row["output_member"] is None:
        return storage.read(name)
    with storage.open(name) as file:
        image = format_of(name).read_image(file, row["output_member"])
    if image is None:
        raise LookupError(f"{uri} has no row {row['output_member']}")
    return image
