"""The scripts of deploy/ with stand-ins for what they call: who is asked for what, and how they end."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT

# Notes its arguments, then does what a test says.
STAND_IN = """#!/bin/sh
echo "$(basename "$0") $*" >> "$CALLS"
{script}
"""
DRIVER = """case "$*" in
    *jobs.inpaint*) trap 'exit {stopped}' TERM; touch "$CALLS.begun"; {work} ;;
    *secrets*) echo token ;;
esac"""


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """Puts a program before all others of its name; returns the calls of all of them."""
    calls = tmp_path / "calls"
    calls.touch()
    monkeypatch.setenv("CALLS", str(calls))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    (tmp_path / "bin").mkdir()

    def put(name: str, script: str = "") -> Path:
        program = tmp_path / "bin" / name
        program.write_text(STAND_IN.format(script=script))
        program.chmod(0o755)
        return calls

    return put


@pytest.fixture
def slurm(stand_in, tmp_path, monkeypatch):
    """Runs the script of Slurm with a driver that works or is stopped; returns its exit code and all calls."""
    for name, value in {"JOB_NODELIST": "a,b", "JOB_ID": "7", "CPUS_PER_TASK": "16"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    stand_in("scontrol", '[ "$1" = show ] && printf "a\\nb\\n"; true')
    calls = stand_in("srun", "exec sleep 60")

    def run(code: int, is_stopped: bool) -> tuple[int, list[str]]:
        work = "while true; do sleep 0.1; done" if is_stopped else f"exit {code}"
        stand_in("python", DRIVER.format(stopped=code, work=work))
        script = subprocess.Popen(["bash", ROOT / "deploy" / "slurm" / "moebius.sbatch", "conf.yaml"])
        if is_stopped:
            while not calls.with_suffix(".begun").exists():
                time.sleep(0.05)
            time.sleep(0.2)
            script.send_signal(signal.SIGTERM)
        return script.wait(60), calls.read_text().splitlines()

    return run


@pytest.mark.parametrize(
    ("code", "is_stopped", "is_queued_again"),
    [(0, False, False), (1, False, False), (3, False, False), (1, True, True), (0, True, False), (3, True, False)],
)
def test_slurm_script_ends_as_its_driver_and_is_queued_again_where_a_signal_left_work(
    slurm, code, is_stopped, is_queued_again
):
    ended, calls = slurm(code, is_stopped)
    assert ended == code
    assert ("scontrol requeue 7" in calls) == is_queued_again


def test_slurm_script_gives_every_node_all_its_cores_and_every_job_a_port(slurm):
    _, calls = slurm(0, False)
    nodes = [call for call in calls if call.startswith("srun ")]
    assert len(nodes) == 2 and all("--cpus-per-task=16 " in call and "--num-cpus=16 " in call for call in nodes)
    assert sorted(call.split("ray start ")[1].split(" --num")[0] for call in nodes) == [
        "--address=a:20007",
        "--head --port=20007",
    ]


def test_slurm_script_waits_for_its_cluster_no_longer_than_it_says():
    script = (ROOT / "deploy" / "slurm" / "moebius.sbatch").read_text()
    wait = script.split("<<'WAIT'\n")[1].split("\nWAIT\n")[0].replace("+ 300", "+ 1")
    ended = subprocess.run(
        [sys.executable, "-", "127.0.0.1:1", "1"], input=wait, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 1 and ended.stderr == "no Ray at 127.0.0.1:1 after five minutes\n"


@pytest.mark.parametrize(
    ("states", "code"),
    [
        (["is ", "is Running", "is Complete"], 0),
        (["is Running", "is Retrying", "is Failed"], 1),
        (["is ValidationFailed"], 1),
        (["is Running", ""], 1),  # someone has deleted it
        (["is Running", "FAIL", "is Complete"], 0),  # the API server was away
    ],
)
def test_cron_job_waits_for_the_end_of_its_run_and_no_longer(stand_in, tmp_path, states, code):
    for number, state in enumerate(states):
        (tmp_path / f"state{number}").write_text(state)
    answer = f"""case "$1" in
        create) echo rayjob.ray.io/moebius-x ;;
        get) n=$(grep -c "kubectl get" "$CALLS"); state=$(cat {tmp_path}/state$((n - 1)))
            if [ "$state" = FAIL ]; then exit 1; fi
            printf "%s" "$state" ;;
    esac"""
    stand_in("kubectl", answer)
    calls = stand_in("sleep")
    *_, job = yaml.safe_load_all((ROOT / "deploy" / "kuberay" / "cronjob.yaml").read_text())
    (container,) = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    ended = subprocess.run([*container["command"], *container["args"]], timeout=30, check=False)
    assert ended.returncode == code
    assert calls.read_text().count("kubectl get") == len(states)
