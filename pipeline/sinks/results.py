"""Reads results by their manifest rows."""

import tarfile
from collections.abc import Mapping
from typing import Any

import pyarrow.parquet as pq

from pipeline.sinks.shards import TAR
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
        if name.endswith(TAR):
            with tarfile.open(fileobj=file, mode="r:") as tar:
                member = tar.extractfile(row["output_member"])
                assert member is not None  # we write nothing but files
                return member.read()
        number = int(row["output_member"])
        parquet = pq.ParquetFile(file)
        for group in range(parquet.num_row_groups):
            count = parquet.metadata.row_group(group).num_rows
            if number < count:
                return parquet.read_row_group(group, ["image"])["image"][number].as_py()["bytes"]
            number -= count
    raise LookupError(f"{row['output_uri']} has no row {row['output_member']}")
