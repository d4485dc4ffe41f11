"""Samples named by the rows of a list; nothing is listed and no image is looked at."""

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config.source import LIST_NAME
from pipeline.errors import ConfigError
from pipeline.sources.base import EVERYTHING, IMAGES, SampleRef, glob_pattern, matching_files
from pipeline.sources.left_out import LeftOut
from pipeline.sources.listed.carried import as_text_columns, pack_rows
from pipeline.sources.listed.columns import (
    BOXES,
    CARRIED,
    KEY,
    MASK,
    as_sizes,
    as_specs,
    as_text,
    present_columns,
    several_paths,
    time_texts,
    versions,
    wanted_columns,
)
from pipeline.sources.listed.inventory import MANIFEST, Inventory, read_inventory, roles_of
from pipeline.sources.listed.inventory_rows import Sieve
from pipeline.sources.listed.names import Names
from pipeline.sources.listed.tables import CSV_SUFFIXES, TABLE_SUFFIXES, Table
from pipeline.sources.parquet.columns import check_json
from pipeline.sources.wanted import Wanted
from pipeline.storage.gather import gather
from pipeline.storage.storage import Storage, StoredFile
from pipeline.uris import AllowedOrigins

FILES_AT_ONCE = 4
OTHER_PATTERN = "not matching source.pattern"
_LOCATOR = IMAGES.field("locator").type
_NO_TEXT = pa.scalar(None, pa.string())
_SETTINGS = {KEY: "source.key", MASK: "mask.column", BOXES: "mask.column"}


def _setting(role: str) -> str:
    """Return the key of the configuration that names a column."""
    return "sink.carry" if role.startswith(CARRIED) else _SETTINGS.get(role, f"source.columns.{role}")


class ListedFiles:
    """Files that the rows of a list name; see :class:`pipeline.sources.base.Source`.

    Args:
        wanted: by the job.
        storage: of the folder that paths are relative to.
    """

    def __init__(self, wanted: Wanted, storage: Storage) -> None:
        self._uri, self._options = wanted.source.uri, wanted.storage_options
        self._root, self._stated_root, self._pattern = storage, wanted.source.root, wanted.source.pattern
        self._roles, self._required = wanted_columns(wanted)
        self._carried, self._carried_as_json = list(wanted.carried), wanted.carried_as_json
        self._allowed = AllowedOrigins([wanted.source.root_uri], wanted.source.hosts)
        self._inventory: Inventory | None = None
        self._sieve: Sieve | None = None
        self._left_out = LeftOut()

    def files(self, left_out: LeftOut | None = None) -> list[StoredFile]:
        """Return the files of the list, see :class:`pipeline.sources.base.Source`."""
        self._left_out = left_out or LeftOut()
        folder, _, name = self._uri.rpartition("/")
        if name.lower().endswith(".json"):
            return self._files_of_inventory()
        if not LIST_NAME.search(name):
            folder, name = self._uri, EVERYTHING
        self._lists = Storage(folder, self._options)
        if not re.search(r"[*?\[{]", name):
            try:
                return [self._lists.stat(name)]
            except FileNotFoundError as error:
                raise ConfigError(f"source.uri: nothing at {self._lists.uri(name)}") from error
        files = () if self._lists.is_file() else matching_files(self._lists, name)
        tables = sorted(
            file for file in files if file.key.lower().endswith(TABLE_SUFFIXES) and not file.key.startswith((".", "_"))
        )
        if not tables:
            raise ConfigError(f"source.uri: no list ({', '.join(TABLE_SUFFIXES)}, {MANIFEST}) at {self._uri}")
        return tables

    def samples(self, files: Iterable[StoredFile]) -> Iterator[SampleRef]:
        """Yield files as samples of their names, for which no list is read."""
        return (SampleRef(*file) for file in files)

    def batches(self, files: Iterable[StoredFile]) -> Iterator[pa.RecordBatch]:
        """Yield the rows of the list as record batches of ``IMAGES``.

        Raises:
            ConfigError: a file of the list cannot be read, or lacks a column, or a column has a wrong type.
        """
        return gather([file.key for file in files], lambda key, _: self._batches_of(key), FILES_AT_ONCE)

    def _files_of_inventory(self) -> list[StoredFile]:
        self._inventory = inventory = read_inventory(self._uri, self._options)
        if self._stated_root is None:
            raise ConfigError(
                f"source.root must be set: {self._uri} is an inventory of the bucket {inventory.bucket}, so its images "
                f"are below s3://{inventory.bucket}"
            )
        self._lists = inventory.storage
        self._sieve = Sieve(self._root, inventory.is_csv, self._left_out)
        return [StoredFile(key, 0, "") for key in inventory.files]

    def _batches_of(self, key: str) -> Iterator[pa.RecordBatch]:
        inventory, start = self._inventory, 0
        table = Table(self._lists, key, inventory.columns if inventory and inventory.is_csv else None)
        names, roles = table.names(), self._roles
        if inventory:
            known = roles_of(names)
            roles = {role: name for role, name in roles.items() if role in (MASK, BOXES) or role.startswith(CARRIED)}
            roles |= known
        settings = {role: _setting(role) for role in roles}
        columns = present_columns(roles, self._required, names, str(table), settings)
        named = Names(self._root, self._allowed, is_exact=inventory is not None)
        for batch in table.batches(columns):
            yield self._converted(batch, columns, named, key, start)
            start += len(batch)

    def _converted(
        self, batch: pa.RecordBatch, columns: Mapping[str, str], named: Names, file: str, start: int
    ) -> pa.RecordBatch:
        """Return the samples of some rows of a file."""
        values = {role: batch.column(name) for role, name in columns.items()}
        texts = partial(self._texts, values, columns, file)
        keys, broken = as_text(values[KEY], columns[KEY], file)
        if self._sieve:
            kept, keys = self._sieve.kept(keys, values)
            batch, broken = batch.filter(kept), None
            values = {role: batch.column(name) for role, name in columns.items()}
            texts = partial(self._texts, values, columns, file)
        ids, links, faults = named.named(keys, broken, file, start)
        sizes = self._sizes("size", values, columns, file)
        versions_ = versions(texts("etag"), sizes, texts("last_modified"), self._root.is_s3)
        paths = several_paths(values[MASK], columns[MASK], file) if MASK in values else None
        wanted = texts(MASK) if paths is None else paths[0]
        mask_sizes = self._sizes("mask_size", values, columns, file)
        mask_versions = versions(texts("mask_etag"), mask_sizes, texts("mask_last_modified"), self._root.is_s3)
        specs = as_specs(values[BOXES], columns[BOXES], file) if BOXES in values else pa.nulls(len(ids), pa.string())
        specs = specs if paths is None else paths[1]
        carried = pa.nulls(len(ids), pa.binary())
        if self._carried:
            carried, carried_versions, carried_faults = pack_rows(self._carried_columns(batch, file))
            versions_ = pc.binary_join_element_wise(versions_, carried_versions, "")
            faults = pc.coalesce(faults, carried_faults)
        rows = [ids, pc.fill_null(sizes, 0), versions_, links, pa.nulls(len(ids), _LOCATOR), pc.is_valid(specs), faults]
        found = pa.record_batch([*rows, wanted, mask_sizes, mask_versions, specs, carried], schema=IMAGES)
        return self._matching(found)

    def _carried_columns(self, batch: pa.RecordBatch, file: str) -> pa.RecordBatch:
        """Return the columns that go with the results.

        Raises:
            ConfigError: the sink cannot store a column's type.
        """
        rows = batch.select(self._carried)
        if file.lower().endswith(CSV_SUFFIXES):
            return as_text_columns(rows)
        for field in rows.schema if self._carried_as_json else ():
            check_json(field, file)
        return rows

    @staticmethod
    def _texts(values: Mapping[str, pa.Array], columns: Mapping[str, str], file: str, role: str) -> pa.Array:
        """Return a column as text; empty text is null."""
        if role not in values:
            return pa.nulls(len(values[KEY]), pa.string())
        if role.endswith("last_modified"):
            text = time_texts(values[role])
        else:
            text, _ = as_text(values[role], columns[role], file)
        return pc.if_else(pc.equal(text, ""), _NO_TEXT, text)

    @staticmethod
    def _sizes(role: str, values: Mapping[str, pa.Array], columns: Mapping[str, str], file: str) -> pa.Array:
        if role not in values:
            return pa.nulls(len(values[KEY]), pa.int64())
        return as_sizes(values[role], columns[role], file)

    def _matching(self, found: pa.RecordBatch) -> pa.RecordBatch:
        """Return the samples that match ``source.pattern``, and those that have no name to match; count the others."""
        if self._pattern == EVERYTHING:
            return found
        try:
            pattern = f"(?s)^(?:{glob_pattern(self._pattern).pattern})$"
            matches = pc.match_substring_regex(found["sample_id"], pattern)
        except (re.error, ValueError) as error:
            raise ConfigError(f"source.pattern={self._pattern!r}: {error}") from error
        kept = found.filter(pc.or_(matches, pc.is_valid(found["fault"])))
        self._left_out.count(OTHER_PATTERN, len(found) - len(kept))
        return kept
