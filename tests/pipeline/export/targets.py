"""Targets of exports in a folder, read back by the engines' own libraries; and sinks to export."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from pipeline.export.base import Target
from pipeline.export.registry import BYTES, EXPORT_FORMATS
from pipeline.export.run import Exported, ExportOptions, export
from pipeline.manifest.log import Manifest
from pipeline.records import FAILED, OK, UNCHANGED, Record, to_table
from pipeline.storage.storage import Storage
from tests.conftest import saved

STARTED = datetime(2026, 1, 2, tzinfo=UTC)


@dataclass(frozen=True)
class Place:
    """A target of one format.

    Args:
        kind: a key of ``EXPORT_FORMATS``.
        uri: of the target.
        options: of its storage or catalog.
    """

    kind: str
    uri: str
    options: Mapping[str, Any]

    def open(self) -> Target:
        return EXPORT_FORMATS.load(self.kind)(self.uri, self.options)

    def export(self, sink: Storage, images: str = BYTES, purge: bool = False, **options: Any) -> Exported:
        with self.open() as target:
            done = export(sink, target, ExportOptions(images, **options))
            if purge:
                target.purge()
        return done

    def rows(self) -> list[dict[str, Any]]:
        """All rows, as the engine's library reads them; images as bytes."""
        return _READERS[self.kind](self)

    def by_id(self) -> dict[str, dict[str, Any]]:
        rows = self.rows()
        assert len({row["sample_id"] for row in rows}) == len(rows)
        return {row["sample_id"]: row for row in rows}

    def version(self) -> object:
        """Something that changes with every commit."""
        return _VERSIONS[self.kind](self)


def place(kind: str, folder: Path) -> Place:
    if kind != "iceberg":
        return Place(kind, str(folder / ("table.lance" if kind == "lance" else "table")), {})
    folder.mkdir(parents=True, exist_ok=True)
    properties = {"type": "sql", "uri": f"sqlite:///{folder}/catalog.db", "warehouse": f"file://{folder}/warehouse"}
    return Place(kind, "iceberg://tests/clean/photos", properties)


def _of_datasets(place: Place) -> list[dict[str, Any]]:
    import datasets

    files = list(Path(place.uri).glob("data/*.parquet"))
    if not any(pq.read_metadata(path).num_rows for path in files):  # datasets loads nothing that has no rows
        return []
    found = datasets.load_dataset(place.uri, cache_dir=f"{place.uri}-cache")["train"]
    if "image" in found.column_names:
        assert isinstance(found.features["image"], datasets.Image)
        found = found.cast_column("image", datasets.Image(decode=False))
    return [{**row, "image": row["image"]["bytes"]} if "image" in row else row for row in found]


def _of_image_folder(place: Place) -> list[dict[str, Any]]:
    import datasets

    if not pq.read_metadata(Path(place.uri) / "metadata.parquet").num_rows:
        return []
    found = datasets.load_dataset("imagefolder", data_dir=place.uri, cache_dir=f"{place.uri}-cache")["train"]
    assert isinstance(found.features["image"], datasets.Image)
    found = found.cast_column("image", datasets.Image(decode=False))
    return [{**row, "image": Path(row["image"]["path"]).read_bytes()} for row in found]


def _of_delta(place: Place) -> list[dict[str, Any]]:
    from deltalake import DeltaTable

    return DeltaTable(place.uri).to_pyarrow_table().to_pylist()


def _of_lance(place: Place) -> list[dict[str, Any]]:
    import lance

    return lance.dataset(place.uri).to_table().to_pylist()


def iceberg_table(place: Place) -> Any:
    from pyiceberg.catalog import load_catalog

    return load_catalog("tests", **place.options).load_table("clean.photos")


def _delta_version(place: Place) -> object:
    from deltalake import DeltaTable

    return DeltaTable(place.uri).version()


def _lance_version(place: Place) -> object:
    import lance

    return lance.dataset(place.uri).version


def _folder_version(place: Place) -> object:
    return {path: path.stat().st_mtime_ns for path in Path(place.uri).rglob("*") if "/." not in str(path)}


_READERS: dict[str, Callable[[Place], list[dict[str, Any]]]] = {
    "parquet": _of_datasets,
    "imagefolder": _of_image_folder,
    "delta": _of_delta,
    "lance": _of_lance,
    "iceberg": lambda place: iceberg_table(place).scan().to_arrow().to_pylist(),
}
_VERSIONS: dict[str, Callable[[Place], object]] = {
    "parquet": _folder_version,
    "imagefolder": _folder_version,
    "delta": _delta_version,
    "lance": _lance_version,
    "iceberg": lambda place: iceberg_table(place).metadata_location,
}
KINDS = tuple(_READERS)
TABLES = tuple(kind for kind in KINDS if kind != "imagefolder")  # whose rows may say where images are


def picture(seed: int) -> bytes:
    """A PNG of noise."""
    return saved(Image.fromarray(np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)))


def result(sink: Storage, name: str, seed: int) -> Record:
    """Store a picture in a sink of single files, and return its row."""
    content, key = picture(seed), f"data/{name}"
    sink.write(key, content)
    row = Record(name, OK, width=16, height=16, mask_fraction=0.25, run_id="r", started_at=STARTED, seam_score=seed / 7)
    digest = hashlib.sha256(content).hexdigest()
    return replace(row, output_uri=sink.uri(key), output_format="png", output_bytes=len(content), output_sha256=digest)


def commit(sink: Storage, rows: Sequence[Record]) -> None:
    manifest = Manifest(sink)
    manifest.load(["sample_id"])
    manifest.append(to_table(list(rows)))


def make_sink(folder: Path, count: int = 5) -> Storage:
    """A sink of some results, two failed samples and one that was passed through."""
    sink = Storage(str(folder))
    rows = [result(sink, f"a/{number}.png", number) for number in range(count)]
    rows += [
        Record(f"bad-{number}.png", FAILED, "decode", "TruncatedImage", "it ends", run_id="r") for number in (1, 2)
    ]
    rows.append(replace(result(sink, "empty.png", 99), status=UNCHANGED))
    commit(sink, rows)
    return sink
