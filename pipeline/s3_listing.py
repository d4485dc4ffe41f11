"""Listing a bucket page by page, where s3fs would hold all of it in memory."""

from collections.abc import Iterator, Mapping
from typing import Any

from fsspec import AbstractFileSystem


def list_objects(filesystem: AbstractFileSystem, folder: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Path and facts of every object below a folder (``bucket/prefix``) of an s3fs file system."""
    bucket, _, prefix = folder.partition("/")
    request = {"Bucket": bucket, "Prefix": f"{prefix}/" if prefix else ""}
    while True:
        page = filesystem.call_s3("list_objects_v2", **request)
        for item in page.get("Contents", []):
            if not item["Key"].endswith("/"):  # some tools store empty objects for folders
                yield f"{bucket}/{item['Key']}", {"size": item["Size"], "ETag": item.get("ETag"), **item}
        if not page.get("IsTruncated"):
            return
        request["ContinuationToken"] = page["NextContinuationToken"]
