"""``imagefolder``: image files and a ``metadata.parquet``, which ``datasets`` and any other program read.

Replacing ``metadata.parquet`` is the commit: readers of it see only images that it names. An image's name depends on
its content, so no file is ever changed; files that the table does not name are remains of exports that were killed.
"""

import hashlib
import json
import os
import re
import tempfile
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import ConfigError
from pipeline.export.base import EXPORTED, MARK, Changes, Committed, Stamp, State, foreign
from pipeline.export.columns import IMAGE
from pipeline.export.locked_folder import LockedFolder
from pipeline.export.parquet_files import kept_rows
from pipeline.storage.storage import Storage

METADATA, FILE_NAME, FOLDER = "metadata.parquet", "file_name", "images"
READ_BYTES = 4 << 20
_HASH_DIGITS = 16
_MAX_STEM = 80  # characters of the sample's own name
_OWN_FILE = re.compile(rf"{FOLDER}/[0-9a-f]{{2}}/([0-9a-f]{{{_HASH_DIGITS}}})-[\w.-]*\.[a-z0-9]+", re.ASCII)


class ImageFolder(LockedFolder):
    """A folder of images with a table of them; see :class:`pipeline.export.base.Target`."""

    has_versions = False

    def __init__(self, uri: str, options: Mapping[str, Any]) -> None:
        super().__init__(Storage(uri, options))
        self.is_new = True

    def state(self) -> State | None:
        """Return the state of the earlier export, and delete what a killed one has left beside it."""
        try:
            with self.storage.open(METADATA, READ_BYTES) as file:
                table = pq.ParquetFile(file)
                schema, metadata = table.schema_arrow, table.metadata.metadata or {}
        except FileNotFoundError:
            if other := self._foreign_file():
                raise foreign(str(self.storage), f"{other}, but no export") from None
            return None
        except pa.ArrowException:
            raise foreign(str(self.storage), f"a {METADATA} that is not Parquet") from None
        try:
            stamp = Stamp(**json.loads(metadata[MARK.encode()]))
        except (LookupError, TypeError, ValueError):
            raise foreign(str(self.storage), f"a {METADATA} of another program") from None
        self._clear(self._named())
        self.is_new = False
        fields = [pa.field(IMAGE, pa.binary()) if field.name == FILE_NAME else field for field in schema]
        return State(stamp.sink, pa.schema(fields))

    def exported(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows of the earlier export."""
        with self.storage.open(METADATA, READ_BYTES) as file:
            for batch in pq.ParquetFile(file).iter_batches(columns=EXPORTED.names[:2]):
                columns = [*batch.select(EXPORTED.names[:2]).columns, pa.repeat(METADATA, len(batch))]
                yield pa.record_batch(columns, schema=EXPORTED)

    def commit(self, changes: Changes) -> Committed:
        """Write new images, then replace the table, then delete images that it does not name."""
        if IMAGE not in changes.schema.names:
            raise ConfigError("--images references: an image folder holds image files; use bytes")
        if FILE_NAME in changes.schema.names:
            raise ConfigError(f"TARGET: {FILE_NAME} is the column of an image folder's files; use --without-carried")
        names = [FILE_NAME if name == IMAGE else name for name in changes.schema.names]
        types = [pa.string() if name == IMAGE else changes.schema.field(name).type for name in changes.schema.names]
        schema, named = pa.schema(list(zip(names, types, strict=True))), array("Q")
        stamp = cache(changes.stamp)
        with tempfile.TemporaryDirectory() as scratch:
            if self.is_new:  # so that readers of a first export that is killed find no images
                empty = Stamp(changes.sink, "", 0)
                self._replace(_write_table(scratch, schema, (), lambda: empty))
            path = _write_table(scratch, schema, self._rows(changes, schema, named), stamp)
            changes.check()
            self._replace(path)
            self.is_new = False
        self._clear(named)
        return Committed(stamp().version, 0)

    def purge(self) -> None:
        """Do nothing: a folder has no earlier versions."""

    def _named(self) -> array:
        """Return the hashes in the names of the images that the table names."""
        named = array("Q")
        with self.storage.open(METADATA, READ_BYTES) as file:
            for batch in pq.ParquetFile(file).iter_batches(columns=[FILE_NAME]):
                _note(named, batch[FILE_NAME])
        return named

    def _rows(self, changes: Changes, schema: pa.Schema, named: array) -> Iterator[pa.RecordBatch]:
        """Yield the rows of the new table, once their images are in the folder; note the hashes of their names."""
        if not changes.replaces_all:
            dropped = [name for _, names in changes.stale.files() for name in names]
            with self.storage.open(METADATA, READ_BYTES) as file:
                for batch in kept_rows(file, dropped):
                    _note(named, batch[FILE_NAME])
                    yield batch.select(schema.names)
        for batch in changes.rows:
            rows = zip(*(batch[name].to_pylist() for name in ("sample_id", "output_format", IMAGE)), strict=True)
            files = [(_file_name(*row), row[-1]) for row in rows]
            for fault in self.storage.write_all(iter(files), self.lease.check):
                if fault:
                    raise fault
            paths = pa.array([name for name, _ in files], pa.string())
            _note(named, paths)
            columns = [paths if name == IMAGE else batch[name] for name in changes.schema.names]
            yield pa.record_batch(columns, schema=schema)

    def _replace(self, path: str) -> None:
        self.lease.check()
        self.storage.upload(METADATA, path)

    def _foreign_file(self) -> str | None:
        """Return the name of a file that is neither hidden nor a remain of a killed export."""
        keys = (file.key for file in self.storage.list_files() if not file.key.startswith("."))
        return next((key for key in keys if not _OWN_FILE.fullmatch(key)), None)

    def _clear(self, named: array) -> None:
        """Delete images whose names' hashes are not among those given."""
        wanted = np.sort(np.frombuffer(named, np.uint64)) if named else np.empty(0, np.uint64)
        for file in list(self.storage.list_files(FOLDER)):
            if (own := _OWN_FILE.fullmatch(file.key)) and not _holds(wanted, int(own[1], 16)):
                self.lease.check()
                self.storage.delete(file.key)
        self.storage.clear_staging()


def _write_table(scratch: str, schema: pa.Schema, batches: Iterable[pa.RecordBatch], stamp: Callable[[], Stamp]) -> str:
    """Write a table below a temporary folder, and return its path; its rows decide its stamp, which comes last."""
    descriptor, path = tempfile.mkstemp(".parquet", dir=scratch)
    os.close(descriptor)
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for batch in batches:
            writer.write_batch(batch)
        writer.add_key_value_metadata({MARK: json.dumps(stamp()._asdict())})
    return path


def _file_name(sample_id: str, image_format: str, image: bytes) -> str:
    """Return the path of an image below the target: a hash of sample and content, and the sample's name for people."""
    digest = hashlib.sha256(f"{sample_id}\0".encode() + hashlib.sha256(image).digest()).hexdigest()[:_HASH_DIGITS]
    stem = re.sub(r"[^\w.-]", "_", sample_id.rpartition("/")[2].rpartition(".")[0], flags=re.ASCII)[:_MAX_STEM]
    return f"{FOLDER}/{digest[:2]}/{digest}-{stem}.{image_format}"


def _note(named: array, paths: pa.Array) -> None:
    """Append the hashes in the names of images."""
    start = len(FOLDER) + len("/00/")
    named.extend(int(path[start : start + _HASH_DIGITS], 16) for path in paths.to_pylist())


def _holds(ordered: np.ndarray, value: int) -> bool:
    """Return whether an ordered array of uint64 holds a value."""
    place = int(np.searchsorted(ordered, np.uint64(value)))
    return place < len(ordered) and int(ordered[place]) == value
