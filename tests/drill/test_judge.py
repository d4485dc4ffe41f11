"""The judge of a drill finds every difference that it names."""

from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline.storage.storage import Storage
from tests.drill.judge import judge
from tests.pipeline.conftest import four_photos
from tests.pipeline.flow_here import here, run_here  # noqa: F401 - here is a fixture

NAMES = [f"{index:03}.png" for index in range(4)]


@pytest.fixture
def sinks(here, tmp_path) -> tuple[Storage, Storage]:  # noqa: F811
    """Sinks of two runs of the same job."""
    config = four_photos(tmp_path)
    for name in ("calm", "fire"):
        run_here(replace(config, sink=replace(config.sink, uri=str(tmp_path / name))))
    return Storage(str(tmp_path / "calm")), Storage(str(tmp_path / "fire"))


def differences(sinks: tuple[Storage, Storage], names: list[str] = NAMES) -> dict[str, int]:
    """Return the counts that are not zero."""
    found = judge(*sinks, {}, names).differences
    assert len(found) == 7
    return {name: count for name, count in found.items() if count}


def rewrite_rows(sink: Storage, **columns: object) -> None:
    """Append the row of the first sample again with other values, as a part of its own."""
    (part, *_) = sorted(Path(sink.root, "manifest").iterdir())
    first = pq.read_table(part).to_pylist()[:1]
    table = pq.read_table(part).slice(0, 1)
    changed = table.from_pylist([{**first[0], **columns}], schema=table.schema)
    pq.write_table(changed, part.with_name("part-00000099.parquet"))


def test_equal_sinks_have_no_difference(sinks):
    assert differences(sinks) == {}


def test_sample_without_a_row_is_lost(sinks):
    assert differences(sinks, [*NAMES, "more.png"]) == {"lost": 1}


def test_second_row_of_a_sample_counts_as_twice(sinks):
    rewrite_rows(sinks[1])
    assert differences(sinks) == {"twice": 1}


def test_failed_row_of_a_good_sample_is_blame_without_fault(sinks):
    rewrite_rows(sinks[1], status="failed", error_type="OSError")
    assert differences(sinks)["blamed without fault"] == 1


def test_sample_that_should_have_failed_and_has_no_row_is_lost_and_not_found(sinks):
    assert differences(sinks, [*NAMES, "more-kill.png"]) == {"lost": 1, "faults not found": 1}


def test_file_that_ends_early_is_half_written_and_has_other_bytes(sinks):
    data = sinks[1].read("data/000.png")
    sinks[1].write("data/000.png", data[: len(data) // 2])
    assert differences(sinks) == {"half written": 1, "other bytes": 1}


def test_file_that_no_row_names_is_without_a_row(sinks):
    sinks[1].write("data/stray.png", b"")
    assert differences(sinks) == {"without a row": 1}


def test_result_that_agrees_with_its_row_but_not_with_the_other_run_has_other_bytes(sinks):
    rewrite_rows(sinks[0], output_sha256="0" * 64)
    assert differences(sinks) == {"other bytes": 1}
