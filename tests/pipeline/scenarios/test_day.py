"""A day in small: a folder that grows between five runs, with one kill and one change of weights.

What is in the manifest is compared after each run: which samples, how they ended, by which run and with which weights.
"""

import hashlib
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from jobs import inpaint, plan
from pipeline.sinks.results import read_result
from pipeline.storage.storage import Storage
from tests.conftest import ROOT, make_photos, run_cli
from tests.pipeline.flow_here import HERE
from tests.pipeline.scenarios.test_kill_points import Killed, Scythe

Run = Callable[..., int]
DONE, WRONG_USAGE = 0, 2


class Shop:
    """A folder of photos that arrive one by one, and the sink of its nightly job."""

    def __init__(self, folder: Path, weights: Path, sink_format: str, steps: int = 2) -> None:
        self.folder, self.out = folder, folder / "out"
        self.stock, self.stock_masks = make_photos(folder / "stock", count=12, height=24, width=64)
        for name in ("photos", "masks"):
            (folder / name).mkdir()
        self.old, self.new = folder / "old", folder / "new"
        for place in (self.old, self.new):
            shutil.copytree(weights, place)
        tensors = self.new / "diffusion_pytorch_model.safetensors"
        tensors.write_bytes(tensors.read_bytes()[:-4] + b"\0\0\0\0")  # the last value of the last tensor
        self.config = folder / "nightly.yaml"
        content = {
            "base": str(ROOT / "conf" / "laptop.yaml"),
            "source": {"uri": f"{folder}/photos"},
            "mask": {"uri": f"{folder}/masks"},
            "model": {"weights": str(self.old), "steps": steps},
            "sink": {"uri": str(self.out), "format": sink_format, "shard_samples": 3},
            "limits": {"max_failed_fraction": 0.2},
        }
        self.config.write_text(yaml.safe_dump(content))

    def receive(self, *numbers: int, masks: bool = True) -> None:
        for number in numbers:
            shutil.copy(self.stock / f"{number:03}.png", self.folder / "photos")
            if masks:
                shutil.copy(self.stock_masks / f"{number:03}.png", self.folder / "masks")

    def retouch(self, number: int) -> None:
        """Another picture under the same name."""
        shutil.copy(self.stock / "011.png", self.folder / "photos" / f"{number:03}.png")

    def rows(self) -> dict[str, dict]:
        """The rows as any reader finds them; each result is whole, and none is without a row."""
        rows = pq.read_table(self.out / "manifest").to_pylist()
        assert max(Counter(row["sample_id"] for row in rows).values()) == 1
        named = {row["output_uri"] for row in rows if row["output_uri"]}
        assert {str(path) for path in (self.out / "data").rglob("*") if path.is_file()} == named
        for row in rows:
            assert (row["status"] == "failed") == (row["output_uri"] is None)
            if row["output_uri"]:
                assert hashlib.sha256(read_result(row, {})).hexdigest() == row["output_sha256"]
        return {row["sample_id"]: row for row in rows}

    def changed(self, before: dict[str, dict]) -> set[int]:
        """Numbers of samples that have another row now; where a shard was written anew, rows only moved."""
        moved = ("output_uri", "output_member")
        plain = [
            {name: {**row, **dict.fromkeys(moved)} for name, row in rows.items()} for rows in (before, self.rows())
        ]
        return {int(name[:3]) for name, row in plain[1].items() if plain[0].get(name) != row}


def live(shop: Shop, run: Run, killed_run: Callable[[], None]) -> None:
    """Five nights."""
    shop.receive(0, 1, 2)
    assert run() == DONE
    first = shop.rows()
    assert shop.changed({}) == {0, 1, 2} and {row["status"] for row in first.values()} == {"ok"}

    shop.receive(3, 4)
    shop.receive(5, masks=False)
    assert run() == DONE
    second = shop.rows()
    assert shop.changed(first) == {3, 4, 5} and len(second) == 6
    assert second["005.png"]["error_type"] == "MissingMask"

    shop.receive(5, 6, 7, 8)  # the missing mask among them
    shop.retouch(0)
    killed_run()
    assert run() == DONE
    third = shop.rows()
    assert shop.changed(second) == {0, 5, 6, 7, 8} and len(third) == 9
    assert {row["status"] for row in third.values()} == {"ok"}
    assert third["000.png"]["output_sha256"] != second["000.png"]["output_sha256"]

    shop.receive(9)
    (shop.folder / "photos" / "001.png").unlink()
    other = f"model.weights={shop.new}"
    assert run(other) == WRONG_USAGE  # a mix, which nobody has asked for
    assert shop.rows() == third
    worst = max(third.values(), key=lambda row: row["seam_score"] if row["sample_id"] != "001.png" else -1e9)
    assert (
        run(other, "run.select=seam_score >= (SELECT max(seam_score) FROM rows WHERE sample_id <> '001.png')") == DONE
    )
    fourth = shop.rows()
    selected = {int(worst["sample_id"][:3])}
    assert shop.changed(third) == {9} | selected and len(fourth) == 10
    old, new = third["001.png"]["weights_fingerprint"], fourth["009.png"]["weights_fingerprint"]
    assert old != new
    weights = Counter(row["weights_fingerprint"] for row in fourth.values())
    assert weights == {old: 8, new: 2}

    assert run(other, "run.redo_changed=true") == DONE
    fifth = shop.rows()
    assert len(fifth) == 10 and shop.changed(fourth) == {0, 2, 3, 4, 5, 6, 7, 8} - selected
    assert {name for name, row in fifth.items() if row["weights_fingerprint"] == old} == {"001.png"}  # gone, it stays


@pytest.mark.parametrize("sink_format", ["images", "webdataset"])
def test_day_of_five_runs_in_this_process(here, tmp_path, tiny_weights, sink_format, capsys):
    shop = Shop(tmp_path, tiny_weights, sink_format)

    def run(*overrides: str) -> int:
        return inpaint.main([str(shop.config), *overrides], HERE)

    def killed_run() -> None:
        with here.context() as patched, pytest.raises(Killed):
            scythe = Scythe([(7, False)])
            for name in ("write", "upload", "create", "delete"):
                patched.setattr(Storage, name, scythe.around(getattr(Storage, name)))
            run()
        capsys.readouterr()
        assert plan.main([str(shop.config)]) == DONE
        assert "missing masks:  0" in capsys.readouterr().out

    live(shop, run, killed_run)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_day_of_five_runs_in_processes_of_their_own(tmp_path, tiny_weights):
    """The same with the real model on Ray, and a driver that is killed when it has written its first result."""
    shop = Shop(tmp_path, tiny_weights, "images", steps=60)

    def run(*overrides: str) -> int:
        return run_cli("inpaint", shop.config, *overrides).returncode

    def results() -> dict[str, int]:
        return {path.name: path.stat().st_mtime_ns for path in (shop.out / "data").iterdir()}

    def killed_run() -> None:
        before = results()
        process = subprocess.Popen([sys.executable, "-m", "jobs.inpaint", str(shop.config)], cwd=ROOT)
        while results() == before:
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL

    live(shop, run, killed_run)
