"""Tasks and the pool of SkyPilot, against its schema; what their scripts do on the first node and on others."""

import os
import re
import socket
import subprocess
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from tests.conftest import ROOT
from tests.deploy.test_deploy import DEPLOY
from tests.joined_cluster import free_port

SCHEMA = yaml.safe_load((ROOT / "tests" / "deploy" / "skypilot_schema.yaml").read_text())
FILES = ("job.yaml", "pool.yaml", "part.yaml")
# Each notes its arguments; Ray's head listens until it is ended.
STAND_INS = {
    "ray": """case "$*" in *--head*)
        trap 'kill $server; echo "head ended" >> "$CALLS"; exit 0' TERM
        python3 -c "import socket, time; s = socket.create_server(('127.0.0.1', $RAY_PORT)); time.sleep(20)" &
        server=$!; wait $server ;;
    *) exit 1 ;; esac""",
    "moebius": "exit ${CODE:-0}",
}


def task(name: str) -> dict:
    return yaml.safe_load((DEPLOY / "skypilot" / name).read_text())


def faults(found: dict) -> list[str]:
    return [error.message for error in Draft202012Validator({"$ref": "#/task", **SCHEMA}).iter_errors(found)]


@pytest.mark.parametrize("name", FILES)
def test_task_is_what_skypilot_takes(name):
    found = task(name)
    assert faults(found) == []
    assert found["resources"]["use_spot"] is True
    for script in (found.get("setup"), found.get("run")):
        assert not script or subprocess.run(["bash", "-n", "-c", script], check=True)
    assert all(value is None for value in found.get("secrets", {}).values())  # they come from the command line


def test_faults_of_a_task_are_found():
    found = task("job.yaml")
    found["resources"]["job_recovery"]["recover_on_exit_codes"] = [1, 1]
    found["resources"]["spot"] = True
    found["pool"] = {"max_workers": -1}
    text = " ".join(faults(found))
    for word in ("[1, 1]} is not valid", "'spot' was unexpected", "-1 is less than the minimum"):
        assert word in text


def test_parts_run_on_the_machines_of_the_pool_as_they_were_set_up():
    pool, part, job = task("pool.yaml"), task("part.yaml"), task("job.yaml")
    assert pool["resources"]["accelerators"] == part["resources"]["accelerators"]
    assert pool["setup"] == job["setup"] and "setup" not in part and "run" not in pool
    assert part["envs"].items() <= job["envs"].items()
    for name in FILES:
        for line in task(name).get("setup", "").splitlines():
            assert "constraints" not in line or "-c constraints.txt -e '.[cluster]'" in line


@pytest.fixture
def node(tmp_path, monkeypatch):
    """Runs a task's script as a node of a cluster; returns its exit code and the calls of programs."""
    programs, calls = tmp_path / "moebius" / "bin", tmp_path / "calls"
    programs.mkdir(parents=True)
    calls.touch()
    (programs / "activate").touch()
    for name, script in STAND_INS.items():
        (programs / name).write_text(f'#!/bin/bash\necho "{name} $*" >> "$CALLS"\n{script}\n')
        (programs / name).chmod(0o755)
    variables = {"HOME": str(tmp_path), "CALLS": str(calls), "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}

    def run(name: str, rank: int = 0, code: int = 0, port: int = 0) -> tuple[int, list[str]]:
        found = task(name)
        here = {"SKYPILOT_NODE_RANK": rank, "SKYPILOT_NODE_IPS": "127.0.0.1\n127.0.0.2", "SKYPILOT_JOB_RANK": 3}
        here |= {"CODE": code, "RAY_PORT": port or free_port()}
        env = {**found["envs"], **variables, **{key: str(value) for key, value in here.items()}}
        ended = subprocess.run(["bash", "-c", found["run"]], env=env, timeout=30, check=False)
        return ended.returncode, Path(calls).read_text().splitlines()

    return run


@pytest.mark.parametrize("code", [0, 1, 3])
def test_first_node_ends_as_its_driver_and_ends_its_ray(node, code):
    returned, calls = node("job.yaml", code=code)
    assert returned == code
    port = re.match(r"ray start --head --port=(\d+) ", calls[0])[1]
    assert calls[1].startswith("moebius inpaint conf/cluster.yaml ") and "sink.uri=s3://bucket/clean" in calls[1]
    assert f"run.address=127.0.0.1:{port} " in calls[1]
    assert calls[-1] == "head ended"


def test_other_node_joins_and_is_no_fault_of_the_job_when_the_first_has_ended(node):
    with socket.create_server(("127.0.0.1", 0)) as head:
        port = head.getsockname()[1]
        returned, (call,) = node("job.yaml", rank=1, port=port)
    assert returned == 0
    assert call.startswith(f"ray start --address=127.0.0.1:{port} ") and "--block" in call


def test_part_has_folders_and_a_sink_of_its_own(node):
    returned, (call,) = node("part.yaml")
    assert returned == 0
    for key, value in {"source": "photos", "mask": "masks", "sink": "clean"}.items():
        assert f"{key}.uri=s3://bucket/{value}/part-3" in call
