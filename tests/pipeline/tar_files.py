"""Tar shards for tests, and what a job finds in them."""

import io
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.config.job import JobConfig, MaskConfig, SinkConfig, SourceConfig
from pipeline.sources.base import SampleRef
from pipeline.sources.tar.source import TarShards
from pipeline.sources.wanted import wanted_by
from pipeline.storage.storage import Storage

Entry = tuple[str, bytes | tuple[bytes, str]]  # a name, and bytes or type and target of a link


def tar(entries: Sequence[Entry], form: int = tarfile.GNU_FORMAT, with_end: bool = True) -> bytes:
    """An archive, without its blocks of zeros at the end if asked for."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as file:
        for name, content in entries:
            header = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                header.size = len(content)
                file.addfile(header, io.BytesIO(content))
            else:
                header.type, header.linkname = content
                file.addfile(header)
        end = file.offset
    return buffer.getvalue() if with_end else buffer.getvalue()[:end]


def sample(key: str, fill: str = "") -> list[Entry]:
    """Image and mask of a key, which name it."""
    return [(f"{key}.jpg", f"image {fill or key}".encode() * 20), (f"{key}.mask.png", f"mask {fill or key}".encode())]


def members_of(key: str, fill: str = "") -> tuple[bytes, bytes]:
    (_, image), (_, mask) = sample(key, fill)
    assert isinstance(image, bytes) and isinstance(mask, bytes)
    return image, mask


def find(path: Path, data: bytes, mask: MaskConfig | None = None, **source: Any) -> list[SampleRef]:
    """The samples of a shard that is written first."""
    path.write_bytes(data)
    config = JobConfig(
        source=SourceConfig("webdataset", str(path), **source),
        mask=mask or MaskConfig("member"),
        sink=SinkConfig(uri=str(path.parent / "out")),
    )
    shards = TarShards(wanted_by(config), Storage(config.source.uri))
    return list(shards.samples(shards.files()))


def kinds(found: Sequence[SampleRef], shard: str = "x.tar") -> dict[str, str | None]:
    """Types of faults by the name of a sample in its shard."""
    assert len({sample.sample_id for sample in found}) == len(found)
    return {
        sample.sample_id.removeprefix(f"{shard}/"): sample.fault.partition(":")[0] if sample.fault else None
        for sample in found
    }


def parts(sample: SampleRef, data: bytes) -> tuple[bytes, ...]:
    """The bytes at a sample's places."""
    assert sample.locator
    starts, sizes = sample.locator[::2], sample.locator[1::2]
    return tuple(data[start : start + size] for start, size in zip(starts, sizes, strict=True))
