"""One sink with every case: plan, log, ``runs/*.json``, manifest and report count alike."""

import json
import logging
import re
from collections import Counter
from html import unescape
from pathlib import Path

import numpy as np
import pyarrow.dataset as ds
import pytest
from PIL import Image

from jobs import forget, inpaint, plan, report
from tests.conftest import ROOT, make_photos
from tests.pipeline.flow_here import HERE

OVERRIDES = (
    "mask.missing=empty",
    "sink.metadata=mark",
    "verify.model={kind: python, function: 'tests.pipeline.hashed_residue:find'}",
    "verify.ladder=[seed]",
    "verify.around_px=64",  # which reaches the corner in which the detector finds something
    "limits.max_failed_fraction=1",
)


@pytest.fixture
def command(here, tmp_path) -> list[str]:
    """Arguments of a job over new photos, after a first run of it; since then samples came, went and were forgotten."""
    photos, masks = make_photos(tmp_path, count=14, height=48, width=64)
    for number in (0, 1):
        (photos / f"{number:03}.png").write_bytes(b"broken")
    (photos / "002.png").unlink()
    Image.open(photos / "003.png").save(photos / "002.bmp")
    (photos / "003.png").write_bytes((photos / "004.png").read_bytes())
    Image.fromarray(np.zeros((48, 64), np.uint8)).save(masks / "003.png")
    arguments = [str(ROOT / "conf" / "inpaint.yaml"), f"source.uri={photos}", f"mask.uri={masks}"]
    arguments += [f"sink.uri={tmp_path}/out", *OVERRIDES]
    assert inpaint.main(arguments, HERE) == 0
    for name in ("001.png", "003.png", "005.png"):  # failed, unchanged, filled
        (photos / name).unlink()
    assert forget.main([f"{tmp_path}/out", "006.png"]) == 0
    (masks / "007.png").unlink()
    turned = Image.Exif()
    turned[0x0112] = 3
    for number in (20, 21, 22):
        Image.open(photos / "008.png").rotate(number).save(photos / f"{number:03}.png", exif=turned)
        (masks / f"{number:03}.png").write_bytes((masks / "008.png").read_bytes())
    (photos / "020.png").write_bytes(b"broken, too")
    Image.open(photos / "021.png").save(photos / "023.bmp")
    (masks / "023.png").write_bytes((masks / "008.png").read_bytes())
    for name in ("notes.txt", "raw.cr3", ".hidden.png"):
        (photos / name).write_bytes(b"")
    return arguments


def test_log_run_file_manifest_and_report_count_alike(command, tmp_path, capsys, caplog):
    capsys.readouterr()
    assert plan.main(command) == 0
    planned = capsys.readouterr().out
    caplog.clear()
    caplog.set_level(logging.INFO, "jobs.inpaint")
    assert inpaint.main(command, HERE) == 0
    log = [(record.levelname, record.getMessage()) for record in caplog.records if record.name == "jobs.inpaint"]
    assert report.main([f"{tmp_path}/out"]) == 0
    page = (tmp_path / "out" / "report.html").read_text()
    listed = re.findall(r"<li><b(di)?[^>]*>(.*?)</b", page[page.index('id="newest"') : page.index("<h2>Runs")])
    assert log == [("INFO" if plain else "WARNING", unescape(text)) for plain, text in listed]
    kinds = (
        "samples: ",
        "failed: ",
        "verified",
        "photos that",
        "results with less",
        "without a mask",
        "gone",
        "forgotten",
    )
    assert all(any(kind in text for _, text in log) for kind in (*kinds, "left out"))

    said = json.loads(max((tmp_path / "out" / "runs").iterdir()).read_text())
    samples, gone = Counter(said["samples"]), Counter(said["gone"])
    rows = ds.dataset(tmp_path / "out" / "manifest", format="parquet").to_table().to_pylist()
    statuses = Counter(row["status"] for row in rows)
    tiles = {name: int(re.search(rf'class="tile {name}"><b>(\d+)', page)[1]) for name in ("ok", "unchanged", "failed")}
    assert tiles == statuses == {name: samples[name] + gone[name] for name in tiles}
    assert sum(gone.values()) == samples["gone"] == 3 and gone == {"failed": 1, "unchanged": 1, "ok": 1}
    assert samples["found"] == sum(samples[name] for name in tiles) == len(rows) - 3
    assert samples["forgotten"] == 1 and samples["without_mask"] == 1
    assert sum(said["errors"].values()) == samples["failed"]
    assert said["left_out"] == {".cr3": 1, ".txt": 1, "hidden": 1, "masks without an image": 3}

    own = [row for row in rows if row["run_id"] == said["run_id"]]
    assert len(own) == samples["done_now"] < samples["found"]
    verified = [row for row in own if row["residual"] is not None]
    assert sum(said["verified"].values()) == len(verified)
    assert said["verified"]["left"] == sum(row["residual"] > 0 for row in verified) > 0
    everywhere = Counter(re.findall(r"(\d+ (?:clean at try \d|left))", page[page.index("Verified:") :].split("<")[0]))
    assert sum(int(text.split()[0]) for text in everywhere) == sum(row["residual"] is not None for row in rows)
    noted = sum(count for text, count in said["warnings"].items() if "sink.metadata" in text)
    assert noted == sum(row["metadata_note"] is not None for row in own) == 1

    assert f"samples found:  {samples['found']} " in planned and f"gone:           {samples['gone']} " in planned
    assert "forgotten:      1 " in planned and "without a mask: 1 " in planned


def test_report_of_a_foreign_run_file_leaves_its_sentences_out(command, tmp_path):
    newest = max((tmp_path / "out" / "runs").iterdir())
    newest.write_text('{"samples": 3}')
    assert report.main([f"{tmp_path}/out"]) == 0
    assert 'id="newest"' not in (tmp_path / "out" / "report.html").read_text()
    Path(newest).write_text("[]")
    assert report.main([f"{tmp_path}/out"]) == 0
