"""``make drill``: one job under constant fire on a small cluster, compared byte for byte with an undisturbed run.

Four Ray nodes that `ray start` has started on this machine, one of them unfit, a real S3 server behind a faulty proxy
that takes no results for a minute, samples that kill their worker and samples that hang, SIGKILLs of workers, actors, a
node and the driver three times a minute, the driver started again until it is done. Exit code 0 means: every sample has
one row, those that kill or hang failed, every other row has one whole result, and every byte is that of the undisturbed
run.
"""

import argparse
import contextlib
import hashlib
import io
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from PIL import Image

from pipeline.sinks.results import read_result
from pipeline.sinks.shards import sample_count
from pipeline.storage.storage import Storage
from tests.conftest import ROOT, textured
from tests.drill.fast_worker import HANG, KILL
from tests.drill.faulty_proxy import faulty_proxy
from tests.drill.nodes import Nodes, started_nodes
from tests.joined_cluster import DRIVER
from tests.s3_server import s3_server

READ_ONLY_AFTER_S = 60.0  # under fire
TIMEOUT_S = 3.0  # of one S3 request


def main() -> int:
    parser = argparse.ArgumentParser(prog="make drill", description=__doc__)
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every", type=float, default=20.0, help="mean seconds between two kills")
    parser.add_argument("--faulty", type=float, default=0.05, help="share of S3 requests that go wrong")
    parser.add_argument("--killers", type=int, default=12, help="samples that kill their worker")
    parser.add_argument("--hangs", type=int, default=2, help="samples that never end")
    parser.add_argument("--read-only", type=float, default=60.0, help="seconds without a PUT, after the first minute")
    parser.add_argument("--sink", default="images", help="sink.format: images, webdataset or parquet")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="drill-") as name:
        folder = Path(name)
        (folder / "s3").mkdir()
        with s3_server(folder / "s3") as s3:
            storage = Storage("s3://bucket", s3)
            names = sample_names(options)
            upload_samples(storage, names, options.seed)
            return drill(folder, s3, storage, names, options)


def sample_names(options: argparse.Namespace) -> list[str]:
    """Names of all samples, those with faults spread evenly."""
    marks = [KILL] * options.killers + [HANG] * options.hangs
    step = options.samples // (len(marks) + 1)
    faulty = {step * (number + 1): mark for number, mark in enumerate(marks)}
    return [f"{index:05}{faulty.get(index, '.png')}" for index in range(options.samples)]


def drill(folder: Path, s3: dict, storage: Storage, names: list[str], options: argparse.Namespace) -> int:
    say(f"{options.samples} samples, seed {options.seed}; first the undisturbed run")
    started = time.monotonic()
    calm = write_config(folder / "calm.yaml", "calm", options.sink, s3)
    code = subprocess.run(command(calm, "FastWorker"), cwd=ROOT, check=False, stderr=subprocess.DEVNULL).returncode
    assert code == 0, f"the undisturbed run ended with exit code {code}"
    say(f"undisturbed: {time.monotonic() - started:.0f} s; now under fire")
    started = time.monotonic()
    kills: Counter[str] = Counter()
    with started_nodes() as nodes:

        def is_read_only() -> bool:
            return 0 < time.monotonic() - started - READ_ONLY_AFTER_S < options.read_only

        with faulty_proxy(s3["endpoint_url"], options.faulty, TIMEOUT_S, options.seed, is_read_only) as (url, faults):
            limits = {"read_timeout": TIMEOUT_S, "connect_timeout": TIMEOUT_S}
            fire = write_config(
                folder / "fire.yaml",
                "fire",
                options.sink,
                {**s3, "endpoint_url": url, "config_kwargs": limits},
                address=nodes.address,
                actors=3,
            )
            dice = random.Random(options.seed)
            run_under_fire(nodes, command(fire, "FaultyWorker"), kills, dice, options.every, folder / "driver.log")
    say(f"under fire: {time.monotonic() - started:.0f} s")
    say("kills: " + ", ".join(f"{count} {what}" for what, count in sorted(kills.items())))
    say("S3: " + ", ".join(f"{count} {what}" for what, count in faults.most_common()))
    return judge(storage, s3, names)


def upload_samples(storage: Storage, names: list[str], seed: int) -> None:
    generator = np.random.default_rng(seed)
    for index, name in enumerate(names):
        height, width = (int(side) for side in generator.integers(40, 160, 2))
        mask = np.zeros((height, width), np.uint8)
        mask[10:25, 10:30] = 255
        for key, array in ((f"photos/{name}", textured(height, width, index)), (f"masks/{name}", mask)):
            buffer = io.BytesIO()
            Image.fromarray(array).save(buffer, "PNG")
            storage.write(key, buffer.getvalue())


def write_config(path: Path, sink: str, sink_format: str, storage: dict, **run: object) -> Path:
    config = {
        "source": {"uri": "s3://bucket/photos"},
        "mask": {"uri": "s3://bucket/masks"},
        "sink": {"uri": f"s3://bucket/{sink}", "format": sink_format, "shard_samples": 100},
        "storage": storage,
        "limits": {"sample_s": 10.0, "max_failed_fraction": 1.0},
        "run": {"report": False, **run},
    }
    path.write_text(yaml.safe_dump(config))
    return path


def command(config: Path, worker: str) -> list[str]:
    return [sys.executable, "-m", "tests.drill.fast_worker", str(config), worker]


def run_under_fire(
    nodes: Nodes,
    driver_command: list[str],
    kills: Counter[str],
    dice: random.Random,
    every_s: float,
    log_file: Path,
) -> None:
    """Start the driver until it ends by itself with 0, killing something every now and then."""
    driver = None
    with log_file.open("ab") as log:
        while driver is None or driver.poll() != 0:
            if driver is None or driver.poll() is not None:
                if driver is not None and driver.returncode not in (-signal.SIGKILL,):
                    kills[f"drivers that gave up with exit code {driver.returncode}"] += 1
                driver = subprocess.Popen(
                    driver_command, cwd=ROOT, env={**os.environ, **DRIVER}, stdout=log, stderr=log
                )
            wait_until = time.monotonic() + dice.uniform(0.5, 1.5) * every_s
            while time.monotonic() < wait_until and driver.poll() is None:
                time.sleep(0.2)
            if driver.poll() is None:
                what = dice.choices(("actor", "worker", "driver", "node"), (5, 5, 2, 1))[0]
                if shoot(what, driver, nodes):
                    kills[f"{what}s killed"] += 1


def shoot(what: str, driver: subprocess.Popen, nodes: Nodes) -> bool:
    if what == "driver":
        driver.kill()
        driver.wait()
        return True
    if what == "node":
        nodes.replace_one()
        return True
    wanted = "MapBatches(Worker)" if what == "actor" else "IDLE"
    raylets = {pid for node in nodes.all for pid in node.processes("raylet/raylet")}
    processes = list(Path("/proc").glob("[0-9]*/cmdline"))
    random.shuffle(processes)
    for process in processes:
        with contextlib.suppress(OSError):  # gone by now
            title = process.read_text()
            parent = int((process.parent / "stat").read_text().rpartition(")")[2].split()[1])
            if parent in raylets and title.startswith("ray::") and wanted in title:
                os.kill(int(process.parent.name), signal.SIGKILL)
                return True
    return False


def judge(storage: Storage, s3: dict, samples: list[str]) -> int:
    """Compare both sinks; every difference is a fault."""
    calm, fire = read_rows(storage, "calm"), read_rows(storage, "fire")
    names = set(samples)
    rows = {row["sample_id"]: row for row in fire}
    expected = {row["sample_id"]: row["output_sha256"] for row in calm}
    named = Counter(row["output_uri"] for row in fire if row["output_uri"])
    files = {storage.uri(file.key) for file in storage.list_files("fire/data")}
    hashes = {
        name: hashlib.sha256(read_result(row, s3)).hexdigest()
        for name, row in rows.items()
        if row["output_uri"] in files
    }
    blamed = {name: row["error_type"] for name, row in rows.items() if row["status"] == "failed"}
    faulty = {name: "WorkerDied" for name in names if name.endswith(KILL)}
    faulty |= {name: "TimedOut" for name in names if name.endswith(HANG)}
    found = {
        "lost": len(names - rows.keys()),
        "twice": len(fire) - len(rows),
        "blamed without fault": len(blamed.keys() - faulty.keys()),
        "faults not found": sum(blamed.get(name) != kind for name, kind in faulty.items()),
        "half written": sum(hashes.get(name) != row["output_sha256"] for name, row in rows.items()),
        "without a row": len(files - named.keys())
        + sum((sample_count(uri) or named[uri]) - rows_in_it for uri, rows_in_it in named.items()),
        "other bytes": sum(expected[name] != hashes.get(name) for name in rows if name not in faulty),
    }
    say(", ".join(f"{number} {fault}" for fault, number in found.items()))
    say(", ".join(f"{number} {kind}" for kind, number in Counter(blamed.values()).items()) + " found and quarantined")
    strange = [row for row in fire if row["status"] != "ok" and row["sample_id"] not in faulty]
    failures = Counter((row["error_type"], row["error_message"]) for row in strange)
    for failure, number in failures.items():
        say(f"  {number} × {failure}")
    return int(any(found.values()))


def read_rows(storage: Storage, sink: str) -> list[dict]:
    files = storage.list_files(f"{sink}/manifest")
    return pa.concat_tables([pq.read_table(pa.BufferReader(storage.read(file.key))) for file in files]).to_pylist()


def say(text: str) -> None:
    print(f"drill: {text}", flush=True)  # noqa: T201 - this script talks to a person


if __name__ == "__main__":
    sys.exit(main())
