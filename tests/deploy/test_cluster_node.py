"""A node as `ray start` makes it: its job server runs a job from a working directory, its metrics port tells of it."""

import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.conftest import ROOT, make_photos
from tests.deploy.test_grafana import EXPORTED

pytest.importorskip("aiohttp_cors", reason="needs the extra cluster: pip install -c constraints.txt -e '.[cluster]'")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

RAY = [sys.executable, "-m", "ray.scripts.scripts"]  # `ray`, of this very environment
SAMPLES = 12


def free_ports(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [server.getsockname()[1] for server in held]
    for server in held:
        server.close()
    return ports


def text_of(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as answer:
        return answer.read().decode()


def wait_for(condition, seconds: float):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if found := condition():
                return found
        except OSError:
            pass
        time.sleep(1)
    pytest.fail(f"nothing within {seconds} s")


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    """Addresses of the job server and of the metrics, and the environment of who may use it."""
    port, dashboard, metrics = free_ports(3)
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # as with the environment active
    env = {**os.environ, **token, "PATH": path}
    start = ["start", "--head", f"--port={port}", f"--dashboard-port={dashboard}", f"--metrics-export-port={metrics}"]
    log = (tmp_path_factory.mktemp("node") / "log").open("w")
    process = subprocess.Popen(
        [*RAY, *start, "--num-cpus=2", "--disable-usage-stats", "--block"],
        env=env,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    try:
        wait_for(lambda: text_of(f"http://127.0.0.1:{metrics}/metrics"), 120)
        yield f"http://127.0.0.1:{dashboard}", f"http://127.0.0.1:{metrics}/metrics", env
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)


def submit(node, folder: Path, entrypoint: list[str], *options: str) -> subprocess.CompletedProcess[str]:
    server, _, env = node
    command = [*RAY, "job", "submit", "--address", server, "--working-dir", str(folder), *options, "--", *entrypoint]
    job = subprocess.run(command, env=env, capture_output=True, text=True, timeout=600, check=False)
    print(job.stdout, job.stderr)  # noqa: T201 - what docs/how-to/deploy.md shows
    return job


def samples_of(text: str) -> dict[str, list[tuple[dict[str, str], float]]]:
    """Metric → its labels and values."""
    found = defaultdict(list)
    for name, labels, value in re.findall(r"^(ray_moebius_\w+)\{(.*)\} (\S+)$", text, re.MULTILINE):
        found[name].append((dict(re.findall(r'(\w+)="([^"]*)"', labels)), float(value)))
    return found


def test_submitted_job_runs_from_its_working_directory_and_its_metrics_are_exported(node, tmp_path, tiny_weights):
    _, metrics, _ = node
    photos, _ = make_photos(tmp_path, count=SAMPLES)
    (photos / "000.png").write_bytes(b"no picture")
    runtime = {"excludes": ["/tests", "/out", "/.git", "/docs"], "env_vars": {"OMP_NUM_THREADS": "1"}}
    options = {
        "source.uri": photos,
        "mask.uri": tmp_path / "masks",
        "sink.uri": tmp_path / "out",
        "model.weights": tiny_weights,
        "model.steps": 2,
        "run.address": "auto",
        "limits.max_failed_fraction": 0.5,
    }
    overrides = [f"{key}={value}" for key, value in options.items()]
    entrypoint = ["python", "-m", "jobs.inpaint", "conf/inpaint.yaml", *overrides]
    with ThreadPoolExecutor(1) as pool:
        submission = pool.submit(submit, node, ROOT, entrypoint, "--runtime-env-json", json.dumps(runtime))
        gauges = defaultdict(list)  # are there only while the job is
        while not submission.done():
            for name, samples in samples_of(text_of(metrics)).items():
                gauges[name] += [value for _, value in samples]
            time.sleep(2)
        job = submission.result()
    assert job.returncode == 0 and "succeeded" in job.stdout
    assert f"{SAMPLES} samples: {SAMPLES - 1} ok, 1 failed" in job.stdout

    rows = pq.read_table(tmp_path / "out" / "manifest").to_pylist()
    assert len(rows) == SAMPLES
    (run,) = {row["run_id"] for row in rows}

    def exported():
        found = samples_of(text_of(metrics))
        return found if sum(value for _, value in found["ray_moebius_samples_total"]) == SAMPLES else None

    found = wait_for(exported, 60)
    assert set(EXPORTED) - {*found, *gauges} == {"ray_moebius_given_back_total"}  # nothing was
    assert set(gauges["ray_moebius_samples_to_do"]) == {SAMPLES}
    assert set(gauges["ray_moebius_model_calls"]) == {2} and min(gauges["ray_moebius_bytes_in_flight"]) >= 0
    for name, samples in found.items():
        for labels, _ in samples:
            assert labels["run"] == run and EXPORTED[name] | {"NodeAddress"} <= set(labels), name
    by_status = {labels["status"]: value for labels, value in found["ray_moebius_samples_total"]}
    assert by_status == {"ok": SAMPLES - 1, "failed": 1}
    ((failure, count),) = found["ray_moebius_failures_total"]
    assert (failure["stage"], failure["error"], count) == ("decode", "UnreadableImage", 1)
    assert sum(value for _, value in found["ray_moebius_windows_total"]) == SAMPLES - 1
    stages = {labels["stage"]: value for labels, value in found["ray_moebius_stage_seconds_total"]}
    assert set(stages) == {"read", "decode", "inpaint", "encode", "write"}
    assert stages["inpaint"] == pytest.approx(sum(row["inpaint_s"] or 0 for row in rows), rel=1e-6)
    written = sum(row["output_bytes"] or 0 for row in rows)
    assert sum(value for _, value in found["ray_moebius_written_bytes_total"]) == written


def test_submitted_job_with_a_faulty_configuration_fails_with_its_sentence(node, tmp_path):
    (tmp_path / "conf.yaml").write_text("model: {stepz: 3}\n")
    entrypoint = ["env", f"PYTHONPATH={ROOT}", "python", "-m", "jobs.inpaint", "conf.yaml"]
    job = submit(node, tmp_path, entrypoint)
    assert job.returncode != 0
    assert "model.stepz" in job.stdout + job.stderr and "exit code 2" in job.stdout + job.stderr
