"""``webdataset``: shards of results as tar files."""

import io
import json
import posixpath
import tarfile
from collections.abc import Collection, Iterator, Mapping
from typing import IO, Any

import pyarrow as pa

from pipeline.codecs.identification.kinds import split_extension
from pipeline.errors import SampleError
from pipeline.records import Record
from pipeline.sinks.carried_json import JSON, as_json, split_row
from pipeline.sinks.format import Member
from pipeline.sources.tar.members import split_name


class TarShard:
    """Members ``path/stem.jpg``, with ``path/stem.json`` for the sample's id and its carried columns."""

    is_sharded = True
    carries_json = True
    own_columns = ()
    suffix = ".tar"
    one_schema = False
    is_compressed = False

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
            raise SampleError("write", "UnusableName", f"{sample_id!r} cannot be the name of a member of a shard")
        base = key = posixpath.join(folder, split_extension(name)[0].replace(".", "_"))
        number = 1
        while key in self._keys:
            number += 1
            key = f"{base}-{number}"
        self._keys.add(key)
        return key

    @staticmethod
    def read(file: IO[bytes], names: Collection[str] | None = None, with_image: bool = True) -> Iterator[Member]:
        """Yield the samples of a shard, grouped by key; content that is not needed is skipped."""
        with tarfile.open(fileobj=file, mode="r:") as tar:
            members: dict[str, bytes] = {}
            for header in tar:
                name = next(iter(members), header.name)  # the image is the first of a sample
                is_wanted = (names is None or name in names) and (with_image or bool(members))
                opened = tar.extractfile(header)
                assert opened is not None  # we write nothing but files
                members[header.name] = opened.read() if is_wanted else b""
                if split_name(header.name)[1] == JSON:  # which is the last of a sample
                    if is_wanted:
                        yield Member(name, members)
                    members = {}

    @staticmethod
    def image_of(member: Member) -> bytes:
        """Return the encoded image of a sample."""
        return member.content[member.name]

    @staticmethod
    def carried_of(member: Member) -> Mapping[str, Any]:
        """Return the carried columns of a sample: members as bytes, and what the JSON says."""
        parts = {split_name(name)[1]: content for name, content in member.content.items() if name != member.name}
        described = json.loads(parts.pop(JSON))
        described.pop("sample_id")
        return {**parts, **described}

    @staticmethod
    def carried_schema(file: IO[bytes]) -> None:
        """Return ``None``: a tar has no types."""

    @staticmethod
    def read_image(file: IO[bytes], name: str) -> bytes:
        """Read the encoded image of one sample by the name of its member."""
        with tarfile.open(fileobj=file, mode="r:") as tar:
            member = tar.extractfile(name)
            assert member is not None  # we write nothing but files
            return member.read()
