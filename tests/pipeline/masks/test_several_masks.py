"""Several masks of one image, and samples that need none: whole jobs over every source that can have them."""

import io
import json
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipeline.config.job import JobConfig, MaskConfig, RunConfig, SinkConfig, SourceConfig
from pipeline.database import Database
from pipeline.errors import ConfigError, SampleError
from pipeline.planning.listing import find_samples
from pipeline.records import FAILED, OK, UNCHANGED
from pipeline.report.inspector import Inspector, config_of_run
from pipeline.sinks.results import read_result
from pipeline.sources.inputs import mask_bytes
from pipeline.sources.reader import Reader
from pipeline.storage.storage import Storage
from tests.conftest import saved, textured
from tests.pipeline.flow_here import run_here

HEIGHT, WIDTH = 40, 64
HOLES = ((slice(5, 15), slice(5, 20)), (slice(20, 30), slice(30, 50)), (slice(10, 25), slice(15, 35)))


def photo(seed: int) -> bytes:
    return saved(Image.fromarray(textured(HEIGHT, WIDTH, seed)))


def mask(number: int) -> bytes:
    pixels = np.zeros((HEIGHT, WIDTH), np.uint8)
    pixels[HOLES[number]] = 255
    return saved(Image.fromarray(pixels))


def holes(*numbers: int) -> np.ndarray:
    union = np.zeros((HEIGHT, WIDTH), bool)
    for number in numbers:
        union[HOLES[number]] = True
    return union


# Masks of each image; the last one has none.
MASKS = {"cat": (0, 1, 2), "dog": (1,), "img_1": (0, 2), "owl": ()}


def tarred(folder: Path) -> None:
    with tarfile.open(folder / "0.tar", "w") as file:
        for seed, (name, numbers) in enumerate(MASKS.items()):
            members = [("png", photo(seed)), ("txt", name.encode())]
            members += [(f"mask{number}.png", mask(number)) for number in numbers]
            for extension, data in sorted(members):
                header = tarfile.TarInfo(f"{name}.{extension}")
                header.size = len(data)
                file.addfile(header, io.BytesIO(data))


def config_of(folder: Path, form: str) -> JobConfig:
    """A job over the same images and masks in one of the forms."""
    folder.mkdir()
    source, masks = SourceConfig(uri=str(folder)), MaskConfig()
    if form in ("files", "list", "among"):
        at = folder if form == "among" else folder / "masks"
        photos = folder if form == "among" else folder / "photos"
        for path in (at, photos):
            path.mkdir(exist_ok=True)
        for seed, (name, numbers) in enumerate(MASKS.items()):
            (photos / f"{name}.png").write_bytes(photo(seed))
            for number in numbers:
                (at / f"{name}-{number}.png").write_bytes(mask(number))
        source = SourceConfig(uri=str(photos))
        masks = MaskConfig(uri=str(at), template="{dir}{stem}-{n}.png")
    if form == "list":
        rows = [
            {"key": f"{name}.png", "masks": [f"{name}-{number}.png" for number in numbers] or None}
            for name, numbers in MASKS.items()
        ]
        pq.write_table(pa.Table.from_pylist(rows), folder / "list.parquet")
        source = SourceConfig("list", str(folder / "list.parquet"), root=str(folder / "photos"))
        masks = MaskConfig(uri=str(folder / "masks"), column="masks")
    if form == "tar":
        tarred(folder)
        source = SourceConfig("webdataset", str(folder))
        masks = MaskConfig("member", member="mask*.png")
    if form == "parquet":
        rows = [
            {"key": name, "image": photo(seed), "masks": [mask(number) for number in numbers] or None}
            for seed, (name, numbers) in enumerate(MASKS.items())
        ]
        pq.write_table(pa.Table.from_pylist(rows), folder / "a.parquet")
        source, masks = SourceConfig("parquet", str(folder), key="key"), MaskConfig("column", column="masks")
    return JobConfig(
        source, masks, sink=SinkConfig(uri=f"{folder}-out", format="parquet" if form == "tar" else "images")
    )


def run(config: JobConfig, run_id: str = "run") -> dict[str, dict]:
    run_here(config, run_id)
    rows = pq.read_table(f"{config.sink.uri}/manifest").to_pylist()
    return {row["sample_id"].rpartition("/")[2].removesuffix(".png"): row for row in rows}


@pytest.mark.parametrize("form", ["files", "among", "list", "tar", "parquet"])
def test_several_masks_of_an_image_are_united_and_none_fails_it_or_is_nothing(here, tmp_path, form):
    config = config_of(tmp_path / "in", form)
    rows = run(config)
    assert set(rows) == set(MASKS)
    for seed, (name, numbers) in enumerate(MASKS.items()):
        row = rows[name]
        if not numbers:
            assert (row["status"], row["error_type"]) == (FAILED, "MissingMask")
            continue
        assert row["status"] == OK, row["error_message"]
        assert row["mask_fraction"] == holes(*numbers).mean()
        assert row["mask_objects"] == (len(numbers) if form != "tar" or len(numbers) > 1 else None)
        before = np.asarray(Image.open(io.BytesIO(photo(seed))))
        after = np.asarray(Image.open(io.BytesIO(read_result(row, {}))))
        assert np.array_equal((before != after).any(axis=2) & ~holes(*numbers), np.zeros((HEIGHT, WIDTH), bool))
        assert np.array_equal(after[holes(*numbers)], 255 - before[holes(*numbers)])
    assert run(config, "again") == rows
    empty = replace(config, mask=replace(config.mask, missing="empty"))
    assert empty.fingerprint == config.fingerprint
    if form == "parquet":  # the plan does not look into columns
        empty = replace(empty, run=RunConfig(retry_failed="MissingMask"))
    again = run(empty, "empty")
    assert (again["owl"]["status"], again["owl"]["mask_fraction"], again["owl"]["mask_objects"]) == (UNCHANGED, 0, 0)
    assert {name: row for name, row in again.items() if name != "owl"} == {
        name: row for name, row in rows.items() if name != "owl"
    }
    assert run(empty, "empty again") == again
    if form != "parquet":
        assert run(config, "back")["owl"]["status"] == FAILED


def versions(config: JobConfig) -> dict[str, tuple]:
    with Database() as database:
        find_samples(config, database)
        rows = database.run("SELECT sample_id, input_version, mask_bytes, mask_spec FROM samples")
    return {row[0]: row[1:] for row in rows}


def test_version_changes_with_any_of_the_masks_and_sizes_count(tmp_path):
    config = config_of(tmp_path / "in", "files")
    folder = tmp_path / "in" / "masks"
    before = versions(config)
    sizes = {"cat.png": (0, 1, 2), "dog.png": (1,), "img_1.png": (0, 2)}
    assert {name: before[name][1] for name in sizes} == {
        name: sum(len(mask(number)) for number in numbers) for name, numbers in sizes.items()
    }
    assert [part["key"] for part in json.loads(before["img_1.png"][2])] == ["img_1-0.png", "img_1-2.png"]
    changes = [
        lambda: (folder / "cat-1.png").write_bytes(mask(0) + b"more"),
        lambda: (folder / "cat-1.png").unlink(),
        lambda: (folder / "cat-07.png").write_bytes(mask(0)),
    ]
    for change in changes:
        change()
        after = versions(config)
        assert after["cat.png"][0] != before["cat.png"][0]
        assert {**after, "cat.png": None} == {**before, "cat.png": None}
        before = after


@pytest.mark.parametrize("form", ["files", "list", "tar", "parquet"])
def test_damaged_one_of_several_masks_fails_its_sample_and_is_named(here, tmp_path, form, monkeypatch):
    good = mask
    monkeypatch.setattr(f"{__name__}.mask", lambda number: good(number)[:-30] if number == 2 else good(number))
    rows = run(config_of(tmp_path / "in", form))
    assert {name: row["status"] for name, row in rows.items()} == {
        "cat": FAILED,
        "dog": OK,
        "img_1": FAILED,
        "owl": FAILED,
    }
    name = {"files": "cat-2.png", "list": "cat-2.png", "tar": "mask 3 of 3", "parquet": "masks[2]"}[form]
    assert rows["cat"]["error_stage"] == "mask" and rows["cat"]["error_message"].startswith(f"{name}: ")


@pytest.mark.parametrize("form", ["files", "list"])
def test_lost_one_of_several_masks_fails_its_sample_and_is_named(tmp_path, form):
    config = config_of(tmp_path / "in", form)
    with Database() as database:
        find_samples(config, database)
        (table,) = database.stream("FROM samples WHERE mask_key IS NOT NULL ORDER BY sample_id", 100)
    (tmp_path / "in" / "masks" / "cat-1.png").unlink()
    cat, _, img = Reader(config).read_all(table.to_pylist())
    assert isinstance(cat, SampleError) and (cat.stage, cat.kind) == ("mask", "FileNotFound")
    assert "cat-1.png" in cat.message and len(img.mask) == 2


@pytest.mark.parametrize("form", ["files", "tar", "parquet"])
def test_report_reads_all_masks_of_a_row_again(here, tmp_path, form):
    config = config_of(tmp_path / "in", form)
    rows = run(config)
    again = config_of_run(Storage(config.sink.uri), "run", {})
    inputs = Inspector(again, [row["sample_id"] for row in rows.values()]).inputs(rows["cat"])
    assert mask_bytes(inputs.mask) == sum(len(mask(number)) for number in (0, 1, 2))


def test_list_of_members_needs_each_of_them_unless_missing_is_empty(here, tmp_path):
    config = config_of(tmp_path / "in", "tar")
    config = replace(config, mask=MaskConfig("member", member=["mask0.png", "mask2.png"]))
    rows = run(config)
    assert rows["cat"]["mask_fraction"] == holes(0, 2).mean()
    assert (rows["dog"]["status"], rows["dog"]["error_type"]) == (FAILED, "MissingMask")
    either = replace(config.mask, member=["mask0.png", "mask1.png"], missing="empty")
    rows = run(replace(config, mask=either, sink=SinkConfig(uri=str(tmp_path / "either"))))
    assert {name: row["status"] for name, row in rows.items()} == {**dict.fromkeys(MASKS, OK), "owl": UNCHANGED}
    assert rows["dog"]["mask_fraction"] == holes(1).mean()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"template": "{stem}{n}.png"}, r"\{n\} may occur once"),
        ({"template": "{n}_{n}.png"}, r"\{n\} may occur once"),
        ({"template": "{n}{ext}"}, r"\{n\} may occur once"),
        ({"kind": "member", "member": []}, r"mask\.member must be an extension"),
        ({"kind": "member", "member": [1]}, r"mask\.member must be an extension"),
        ({"missing": "skip"}, r"mask\.missing must be one of fail, empty"),
    ],
)
def test_settings_that_do_not_fit_are_refused(options, reason):
    with pytest.raises(ConfigError, match=reason):
        MaskConfig(**options)


def test_numbered_template_is_refused_where_nothing_is_listed():
    with pytest.raises(ConfigError, match="a column of lists"):
        JobConfig(SourceConfig("list", "list.csv"), MaskConfig(template="{stem}_{n}.png"))


@pytest.mark.parametrize("stem", ["a 0", "7", "é-12", "x'y", 'a"b', "a{b}", "100%"])
def test_numbered_masks_are_found_for_any_name(tmp_path, stem):
    for folder in ("photos", "masks"):
        (tmp_path / folder).mkdir()
    (tmp_path / "photos" / f"{stem}.png").write_bytes(photo(0))
    for name in (f"{stem}_0.png", f"{stem}_12.png", f"{stem}_.png", f"{stem}_x.png", f"{stem}0_1.png"):
        (tmp_path / "masks" / name).write_bytes(mask(0))
    config = JobConfig(
        SourceConfig(uri=str(tmp_path / "photos")),
        MaskConfig(uri=str(tmp_path / "masks"), template="{dir}{stem}_{n}.png"),
    )
    found = versions(config)
    with Database() as database:
        assert find_samples(config, database) == {"masks without an image": 3}
    keys = [part["key"] for part in json.loads(found[f"{stem}.png"][2])]
    assert keys == [f"{stem}_0.png", f"{stem}_12.png"]
