"""The section ``source`` of a configuration."""

import os
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from pipeline.config.rules import SourceRules
from pipeline.config.values import absolute_uri, as_extension, choose
from pipeline.errors import ConfigError
from pipeline.sources.registry import SOURCE_FORMATS
from pipeline.uris import is_origin

SHARD_NAME = re.compile(r"[^/]*([*?\[{]|\.(tar(\.(gz|bz2|xz|zst))?|tgz|tbz2|txz|tzst|parquet|parq|pq)$)", re.IGNORECASE)
LIST_NAME = re.compile(r"[*?\[{]|\.(parquet|parq|pq|json|(csv|jsonl|ndjson)(\.gz)?)$", re.IGNORECASE)
LIST_COLUMNS = ("size", "etag", "last_modified", "mask_size", "mask_etag", "mask_last_modified")


@dataclass(frozen=True)
class SourceConfig:
    """Where the images are read from.

    Args:
        format: ``images`` (files), ``webdataset`` (tar shards), ``parquet``, or ``list`` (files that a table names).
        uri: folder or prefix of the files; for shards also one file, or names with globs and braces; for ``list`` the
            list: Parquet, CSV or JSON lines, several of them, or the ``manifest.json`` of an S3 Inventory.
        pattern: glob over paths below ``uri``, or below the root of a list.
        image: in tar shards, the extension of the image's member, null for any image extension; in Parquet files, the
            image's column, null for ``image``.
        key: column of Parquet files that names a sample; null names it by file and row. In a list, the column of paths
            or uris; null for ``key``.
        hosts: buckets and hosts, beside the source's own, that uris in Parquet files and lists may lead to, such as
            ``s3://other-bucket`` or ``https://cdn.example.com``.
        root: folder that the paths of a list are relative to; null: the folder of the list.
        columns: names of other columns of a list where they are not ``size``, ``etag``, ``last_modified`` and, of masks
            in files, ``mask_size``, ``mask_etag``, ``mask_last_modified``, such as ``{size: bytes}``.
    """

    format: str = "images"
    uri: str = "photos/"
    pattern: str = "**/*"
    image: str | None = None
    key: str | None = None
    hosts: list[str] = field(default_factory=list)
    root: str | None = None
    columns: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_hosts(self.hosts)
        choose("source.format", self.format, SOURCE_FORMATS)
        uri, pattern = self.uri, self.pattern
        if self.rules.is_sharded:
            folder, slash, name = uri.rpartition("/")
            if SHARD_NAME.match(name) and not os.path.isdir(os.path.expanduser(uri)):
                uri, pattern = f"{folder}{slash}" or ".", name
        object.__setattr__(self, "uri", absolute_uri(uri, "source.uri"))
        object.__setattr__(self, "pattern", pattern)
        self._check_list()
        if self.rules.has_members and self.image:
            object.__setattr__(self, "image", as_extension(self.image))

    def _check_list(self) -> None:
        if not self.rules.is_list:
            if given := [key for key in ("root", "columns") if getattr(self, key)]:
                raise ConfigError(f"source.{given[0]} has no meaning for source.format={self.format}, only for list")
            return
        if self.root is not None:
            object.__setattr__(self, "root", absolute_uri(self.root, "source.root"))
        for role, column in self.columns.items():
            choose("source.columns: a key", role, LIST_COLUMNS)
            if not isinstance(column, str) or not column:
                raise ConfigError(f"source.columns.{role} must be the name of a column, got {column!r}")

    @property
    def root_uri(self) -> str:
        """Return the uri of the folder that paths of images are relative to."""
        if not self.rules.is_list:
            return self.uri
        folder, _, name = self.uri.rpartition("/")
        return self.root or (folder if LIST_NAME.search(name) else self.uri)

    @property
    def rules(self) -> SourceRules:
        """Return the properties of the format."""
        rules: SourceRules = SOURCE_FORMATS.load(self.format)
        return rules


def _check_hosts(hosts: Collection[Any]) -> None:
    for host in hosts:
        if not is_origin(host):
            raise ConfigError(
                f"source.hosts must be buckets or hosts such as s3://bucket or https://cdn.example.com, got {host!r}"
            )
