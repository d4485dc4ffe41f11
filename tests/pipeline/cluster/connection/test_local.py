"""A local cluster is for the process that started it, and leaves nothing behind in it."""

import os
import subprocess
import sys

import pytest

from tests.joined_cluster import run_driver

TWO_JOBS = """
import os, subprocess, sys
import ray
from pipeline.cluster.connection.connect import connected

INTRUDER = "import ray, sys; ray.init(address=sys.argv[1], log_to_driver=False); print(ray.cluster_resources())"
before = dict(os.environ)

def intrude(address, **variables):
    plain = {key: value for key, value in os.environ.items() if not key.startswith("RAY_AUTH")}
    env = {**plain, "RAY_NUM_REDIS_GET_RETRIES": "1", **variables}
    return subprocess.run([sys.executable, "-c", INTRUDER, address], env=env, capture_output=True, text=True).returncode

@ray.remote
def token():
    return os.environ["RAY_AUTH_TOKEN"]

tokens = []
for run in range(2):
    with connected("local"):
        tokens.append(ray.get(token.remote()))
        address = ray.get_runtime_context().gcs_address
        if not run:
            mine = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": tokens[0]}
            others = [{}, {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": 32 * "ab"}]
            print(address.rpartition(":")[0], [intrude(address, **variables) for variables in (*others, mine)])
            listening = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True).stdout.splitlines()
            children = open(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read().split()
            ours = [f"pid={pid}," for pid in (os.getpid(), *children)]
            mine = [line.split()[3] for line in listening if any(pid in line for pid in ours)]
            print(len(mine) > 1 and all("127.0.0.1" in place for place in mine))
    assert dict(os.environ) == before, set(os.environ.items()) ^ set(before.items())
print(len(set(tokens)), min(map(len, tokens)), os.path.exists(os.path.expanduser("~/.ray")))
"""

FULL = """
from pipeline.cluster.connection.connect import connected
try:
    with connected("local"):
        print("started")
except OSError as error:
    print(error)
"""


VARIABLES = """
import os
from pipeline.cluster.connection.ray_process import restored_afterwards
before = dict(os.environ)
with restored_afterwards():
    print(os.environ["RAY_idle_worker_killing_time_threshold_ms"], os.environ["RAY_BACKEND_LOG_LEVEL"])
assert dict(os.environ) == before
"""


def test_variables_of_ray_have_defaults_that_users_may_replace():
    driver = run_driver(VARIABLES, env={"RAY_BACKEND_LOG_LEVEL": "info"})
    output, errors = driver.communicate(timeout=60)
    assert output == "5000 info\n", errors


def test_local_cluster_refuses_others_and_leaves_the_environment_as_it_was(tmp_path):
    driver = run_driver(TWO_JOBS, env={"HOME": str(tmp_path)})
    output, errors = driver.communicate(timeout=240)
    assert output.splitlines() == ["127.0.0.1 [1, 1, 0]", "True", "2 64 False"], errors


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")
def test_local_cluster_without_room_for_its_files_is_refused_in_one_line(tmp_path):
    mount = f'mount -t tmpfs -o size=1m none {tmp_path} && exec "$@"'
    command = ["unshare", "--mount", "sh", "-c", mount, "sh", sys.executable, "-c", FULL]
    env = {**os.environ, "RAY_TMPDIR": str(tmp_path)}
    output = subprocess.run(command, env=env, capture_output=True, text=True, check=True, timeout=120).stdout
    folder = f"Ray's temporary folder {tmp_path}/ray has 1048576 bytes free and needs 104857600: "
    assert output == f"{folder}free some, or name another folder in RAY_TMPDIR\n"
