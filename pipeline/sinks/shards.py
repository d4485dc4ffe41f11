"""Shards of results: WebDataset tar files and Parquet files.

A shard is completed on the local disk and named by the hash of its content and its number of samples. Reprocessing a
unit creates the same shard or one that no row names; a shard with fewer rows than samples holds replaced results.
"""

import hashlib
import io
import json
import os
import posixpath
import re
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from typing import IO, Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.codecs.kinds import split_extension
from pipeline.errors import SampleError
from pipeline.records import Record
from pipeline.sinks.carried_json import JSON, as_json, split_row
from pipeline.sources.tar_members import split_name

TAR, PARQUET = ".tar", ".parquet"
ROW_GROUP_ROWS, ROW_GROUP_BYTES = 100, 32 << 20  # what a reader must take at least, to see one image
DIGEST_DIGITS = 16  # of the hash in a shard's name
_NAME = re.compile(rf"(?:.*/)?[0-9a-f]{{{DIGEST_DIGITS}}}-(\d+)(?:{re.escape(TAR)}|{re.escape(PARQUET)})\Z")
_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_OWN = pa.schema([("sample_id", pa.string()), ("image", _IMAGE), ("width", pa.int32()), ("height", pa.int32())])
# With it, datasets.load_dataset shows the column as images.
_FEATURES = {b"huggingface": json.dumps({"info": {"features": {"image": {"_type": "Image"}}}}).encode()}


class Member(NamedTuple):
    """One result in a shard, which can be copied to another shard.

    Args:
        name: as in ``output_member`` of the manifest.
        content: the shard's data of it.
    """

    name: str
    content: Any


def sample_count(key: str) -> int | None:
    """Return the number of samples in a shard's name; ``None`` if the name is not one of our shards."""
    match = _NAME.match(key)
    return int(match[1]) if match else None


def name_agrees(key: str, digest: str) -> bool:
    """Return whether a shard's name contains this SHA-256.

    Args:
        key: of the shard.
        digest: hexadecimal, of its whole content.
    """
    return posixpath.basename(key).startswith(f"{digest[:DIGEST_DIGITS]}-")


def result_bytes(member: Member) -> bytes:
    """Read the encoded image of a sample in a shard."""
    if isinstance(member.content, pa.RecordBatch):
        return member.content.column("image")[0]["bytes"].as_py()
    return member.content[member.name]


class TarShard:
    """Members ``path/stem.jpg``, with ``path/stem.json`` for the sample's id and its carried columns."""

    suffix = TAR

    def __init__(self, file: IO[bytes]) -> None:
        self._tar = tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT)  # noqa: SIM115 - closed below
        self._keys: set[str] = set()

    def add(self, record: Record, result: bytes, carried: pa.RecordBatch) -> str:
        """Append a sample and return the name of its member.

        Raises:
            SampleError: a name that would escape the folder of unpacking, or a value that JSON cannot represent.
        """
        members, described = split_row(carried)
        text = as_json({"sample_id": record.sample_id, **described})
        key = self._free_key(record.sample_id)
        name = f"{key}.{record.output_format}"
        others = {f"{key}.{column}": content for column, content in members.items()}
        self._write({name: result, **others, f"{key}.{JSON}": text})
        return name

    def take_over(self, member: Member) -> str:
        """Append a sample of another shard and return the name that it has here."""
        self._write(member.content)
        return member.name

    def _write(self, members: Mapping[str, bytes]) -> None:
        for name, content in members.items():
            header = tarfile.TarInfo(name)
            header.size, header.mode = len(content), 0o644  # no time and no owner: equal content, equal shard
            self._tar.addfile(header, io.BytesIO(content))

    def close(self) -> None:
        """Complete the file."""
        self._tar.close()

    def _free_key(self, sample_id: str) -> str:
        """Return a unique key for a sample's id, without dots in its base name."""
        folder, name = posixpath.split(sample_id)
        if sample_id.startswith("/") or ".." in sample_id.split("/") or not name:
            raise SampleError("write", "UnusableName", f"{sample_id!r} is no name inside a shard")
        base = key = posixpath.join(folder, split_extension(name)[0].replace(".", "_"))
        number = 1
        while key in self._keys:
            number += 1
            key = f"{base}-{number}"
        self._keys.add(key)
        return key

    @staticmethod
    def read(file: IO[bytes]) -> Iterator[Member]:
        """Yield the samples of a shard, grouped by key."""
        with tarfile.open(fileobj=file, mode="r:") as tar:
            members: dict[str, bytes] = {}
            for header in tar:
                opened = tar.extractfile(header)
                assert opened is not None  # we write nothing but files
                members[header.name] = opened.read()
                if split_name(header.name)[1] == "json":  # which is the last of a sample
                    yield Member(next(iter(members)), members)
                    members = {}


class ParquetShard:
    """Rows of ``sample_id``, ``image`` (bytes and path, as Hugging Face's), size, and the carried columns."""

    suffix = PARQUET

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._writer: pq.ParquetWriter | None = None
        self._rows: list[pa.RecordBatch] = []
        self._row_count = self._waiting_bytes = 0

    def add(self, record: Record, result: bytes, carried: pa.RecordBatch) -> str:
        """Append a sample and return the number of its row."""
        path = f"{split_extension(record.sample_id)[0]}.{record.output_format}"
        own = (record.sample_id, {"bytes": result, "path": path}, record.width, record.height)
        columns = [pa.array([value], field.type) for value, field in zip(own, _OWN, strict=True)]
        schema = pa.schema([*carried.schema, *_OWN], _FEATURES)
        return self.take_over(Member("", pa.record_batch([*carried.columns, *columns], schema=schema)))

    def take_over(self, member: Member) -> str:
        """Append a row of another shard and return its number here."""
        self._rows.append(member.content)
        self._row_count += 1
        self._waiting_bytes += member.content.nbytes
        if len(self._rows) >= ROW_GROUP_ROWS or self._waiting_bytes >= ROW_GROUP_BYTES:
            self._flush()
        return str(self._row_count - 1)

    def _flush(self) -> None:
        if not self._rows:
            return
        rows = pa.Table.from_batches(self._rows)
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._file, rows.schema, compression="zstd", use_dictionary=False)
        self._writer.write_table(rows.combine_chunks())
        self._rows, self._waiting_bytes = [], 0

    def close(self) -> None:
        """Complete the file."""
        self._flush()
        if self._writer is not None:
            self._writer.close()

    @staticmethod
    def read(file: IO[bytes]) -> Iterator[Member]:
        """Rows of a shard."""
        number = 0
        for batch in pq.ParquetFile(file).iter_batches(ROW_GROUP_ROWS):
            for row in range(batch.num_rows):
                yield Member(str(number), batch.slice(row, 1))
                number += 1


_FORMATS: dict[str, type[TarShard] | type[ParquetShard]] = {TAR: TarShard, PARQUET: ParquetShard}


class ShardWriter:
    """Writes a shard to an unnamed temporary file, which the system deletes when the process ends.

    Args:
        suffix: ``TAR`` or ``PARQUET``.
    """

    def __init__(self, suffix: str) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by ``__exit__``
        self._shard = _FORMATS[suffix](self._file)
        self.sample_count = self.size_bytes = 0

    @property
    def path(self) -> str:
        """Path of the temporary file for this process."""
        return f"/dev/fd/{self._file.fileno()}"

    def add(self, record: Record, result: bytes, carried: pa.RecordBatch) -> str:
        """Append a sample and return the name of its member."""
        name = self._shard.add(record, result, carried)
        self._count(len(result))
        return name

    def take_over(self, member: Member) -> str:
        """Append a sample of another shard and return the name that it has here."""
        self._count(0)
        return self._shard.take_over(member)

    def _count(self, size_bytes: int) -> None:
        self.sample_count += 1
        self.size_bytes += size_bytes

    def finish(self) -> str:
        """Complete the file and return its name."""
        self._shard.close()
        self._file.flush()
        self._file.seek(0)
        digest = hashlib.sha256()
        while block := self._file.read(1 << 20):
            digest.update(block)
        self._file.seek(0)
        return f"{digest.hexdigest()[:DIGEST_DIGITS]}-{self.sample_count:05}{self._shard.suffix}"

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def read_shard(key: str, file: IO[bytes]) -> Iterator[Member]:
    """Yield the samples of a shard written by this module."""
    return _FORMATS[os.path.splitext(key)[1]].read(file)
