"""The cluster that tests join does what they rely on."""

import subprocess
import sys

import pytest

from tests.joined_cluster import bind_empty, bind_read_only, stop, unbind

LOOK = """
import os, socket, sys
import ray

@ray.remote(num_cpus=0.1)
def look(folder):
    return socket.gethostname(), os.listdir(folder), os.access(folder + "/file", os.W_OK)

ray.init(address=sys.argv[1], log_to_driver=False, logging_level="ERROR")
for name in ("head", "second"):
    host, found, may_write = ray.get(look.options(resources={name: 0.1}).remote(sys.argv[2]))
    print(name, host == "second", found, may_write)
"""


def seen(cluster, folder) -> list[str]:
    command = [sys.executable, "-c", LOOK, cluster.address, str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=90).stdout.splitlines()


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "file").touch()
    return tmp_path


def test_processes_of_the_cluster_listen_on_loopback_alone(joined_cluster):
    listening = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True, check=True).stdout.splitlines()
    for node in (joined_cluster.head, joined_cluster.second):
        lines = [line for line in listening if any(f"pid={pid}," in line for pid in node.processes(""))]
        assert lines and all("127.0.0.1" in line.split()[3] for line in lines), lines


def test_a_cluster_that_has_lost_a_node_is_started_anew(lasting_cluster, folder):
    before = lasting_cluster.living()
    assert lasting_cluster.living() is before
    stop(before.second, is_graceful=False)
    assert seen(lasting_cluster.living(), folder) == ["head False ['file'] True", "second False ['file'] True"]
    assert before.head.process.poll() is not None


def test_nodes_of_the_plain_cluster_see_the_same_files(joined_cluster, folder):
    assert seen(joined_cluster, folder) == ["head False ['file'] True", "second False ['file'] True"]


@pytest.mark.slow
def test_mounts_of_the_second_node_are_its_own(mounted_cluster, folder):
    plain = ["head False ['file'] True", "second True ['file'] True"]
    bind_empty(mounted_cluster.second, folder)
    assert seen(mounted_cluster, folder) == [plain[0], "second True [] False"]
    unbind(mounted_cluster.second, folder)
    assert seen(mounted_cluster, folder) == plain
    bind_read_only(mounted_cluster.second, folder)
    assert seen(mounted_cluster, folder) == [plain[0], "second True ['file'] False"]
    unbind(mounted_cluster.second, folder)
    assert seen(mounted_cluster, folder) == plain
