"""A real Ray cluster of two nodes on loopback, started by `ray start` in processes of their own, for tests.

A driver joins by ``127.0.0.1`` with the variable that ``tests/conftest.py`` sets and that child processes inherit.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
STARTED = "Ray runtime started"
START_S, STOP_S = 90.0, 3.0
OBJECT_STORE_BYTES = 80 << 20
# `ray start`, but 127.0.0.1 stays what it is, and without the server of `ray://`, a process that no test uses.
RAY_START = """
from ray._private import services
services.resolve_ip_for_localhost = str
from ray.scripts import scripts
scripts.get_ray_client_dependency_error = lambda: "not wanted"
scripts.main()
"""
DRIVER = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}  # 127.0.0.1 stays what it is: see tests/conftest.py
# Workers are started when something asks for them, and reports of usage go nowhere.
NODE = {"RAY_prestart_worker_first_driver": "0", "RAY_USAGE_STATS_REPORT_URL": "http://127.0.0.1:9/"}


@dataclass(frozen=True)
class Node:
    """A node of the cluster, which has the custom resource ``name``.

    Args:
        name: ``head`` or ``second``.
        process: its ``ray start --block``.
        folder: temporary folder of its Ray; ``log`` in it has what ``ray start`` wrote.
        has_own_mounts: whether mounts made in it are seen by its processes only.
    """

    name: str
    process: subprocess.Popen
    folder: Path
    has_own_mounts: bool

    @property
    def log(self) -> str:
        """What ``ray start`` wrote."""
        return (self.folder / "log").read_text()

    def processes(self, part: str) -> list[int]:
        """Ids of its processes whose command line contains ``part``, such as ``gcs_server`` or ``raylet/raylet``."""
        return [pid for pid in _below(self.process.pid) if part in _command_line(pid)]


@dataclass(frozen=True)
class JoinedCluster:
    """Two nodes that have found each other.

    Args:
        address: value for ``run.address``.
        head: the first node.
        second: the other one.
        start_s: seconds until both were ready.
    """

    address: str
    head: Node
    second: Node
    start_s: float


def run_driver(code: str, *arguments: str, env: Mapping[str, str] | None = None, **options) -> subprocess.Popen:
    """Start a driver in a process of its own, without Ray's variables of this one; its outputs are pipes of text."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        env={**plain_environment(), **DRIVER, **(env or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


@contextlib.contextmanager
def joined_cluster(
    cpus: int = 1, own_mounts: bool = False, env: Mapping[str, str] | None = None
) -> Iterator[JoinedCluster]:
    """Start two nodes, wait until they have found each other, and stop them at the end.

    Args:
        cpus: CPUs that each node offers.
        own_mounts: start the second node in its own mount and host name namespace (needs root): ``bind_empty`` and
            ``bind_read_only`` then change what is seen there and nowhere else. Its host name is ``second``.
        env: added to the environment of both nodes, such as ``RAY_AUTH_MODE``.

    Raises:
        RuntimeError: a node did not start; the message has the end of its log.
    """
    folder = Path(tempfile.mkdtemp(prefix="ray"))  # a short path: sockets in it have at most 107 characters
    env = {"HOME": str(folder), **(env or {})}  # without ~/.ray/auth_token, whatever the user has
    port, started = free_port(), time.monotonic()
    nodes: list[Node] = []
    try:
        head = start_node("head", folder, ["--head", f"--port={port}", "--include-dashboard=false"], cpus, env)
        nodes.append(head)
        _wait_until(lambda: _answers(port), head)
        join = [f"--address=127.0.0.1:{port}"]
        nodes.append(start_node("second", folder, join, cpus, env, own_mounts))
        wait_for(nodes, port)
        yield JoinedCluster(f"127.0.0.1:{port}", *nodes, time.monotonic() - started)
    finally:
        for node in reversed(nodes):
            stop(node)
        shutil.rmtree(folder, ignore_errors=True)


class LastingCluster:
    """A cluster for many tests, started when one asks for it, and anew once a node has ended of itself.

    A node ends when the head has not heard of it for long, as on a machine that is very busy.
    """

    def __init__(self) -> None:
        self.started = contextlib.ExitStack()
        self.cluster: JoinedCluster | None = None

    def __enter__(self) -> "LastingCluster":
        return self

    def __exit__(self, *error: object) -> None:
        self.started.close()

    def living(self) -> JoinedCluster:
        """Return the cluster, all nodes of which run."""
        if self.cluster and any(node.process.poll() is not None for node in (self.cluster.head, self.cluster.second)):
            self.started.close()
            self.cluster = None
        if self.cluster is None:
            self.cluster = self.started.enter_context(joined_cluster())
        return self.cluster


def start_node(
    name: str, folder: Path, flags: list[str], cpus: int, env: Mapping[str, str], own_mounts: bool = False
) -> Node:
    """Run ``ray start --block`` with flags, in a temporary folder below ``folder``; does not wait for it."""
    temporary = folder / name
    temporary.mkdir()
    resources = json.dumps({name: 1})
    sizes = [f"--num-cpus={cpus}", f"--object-store-memory={OBJECT_STORE_BYTES}", f"--resources={resources}"]
    places = ["--node-ip-address=127.0.0.1", f"--temp-dir={temporary}", "--include-log-monitor=false"]
    command = [sys.executable, "-c", RAY_START, "start", "--block", *flags, *sizes, *places]
    if own_mounts:
        rename = f'hostname {name} && exec "$@"'
        command = ["unshare", "--mount", "--uts", "sh", "-c", rename, "sh", *command]
    with (temporary / "log").open("wb") as log:
        process = subprocess.Popen(
            command,
            env={**plain_environment(), **NODE, **env},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    return Node(name, process, temporary, own_mounts)


def wait_for(nodes: Sequence[Node], port: int) -> None:
    """Wait until nodes have started; the first is the head, which answers at a port.

    Raises:
        RuntimeError: a node did not start; the message has the end of its log.
    """
    _wait_until(lambda: _answers(port), nodes[0])
    for node in nodes:
        _wait_until(lambda node=node: STARTED in node.log, node)


def stop(node: Node, is_graceful: bool = True) -> None:
    """End a node and all of its processes, by SIGKILL at once unless it is graceful."""
    processes = _below(node.process.pid)
    if is_graceful:
        node.process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            node.process.wait(STOP_S)
    for pid in [node.process.pid, *processes]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    node.process.wait()


def bind_empty(node: Node, path: Path) -> None:
    """Let processes of a node that has its own mounts see an empty folder at ``path``, until ``unbind``."""
    empty = node.folder / f"empty-{time.monotonic_ns()}"
    empty.mkdir()
    _mount(node, "mount", "--bind", str(empty), str(path))


def bind_read_only(node: Node, path: Path) -> None:
    """Let processes of a node that has its own mounts see ``path`` read-only, until ``unbind``."""
    _mount(node, "mount", "--bind", str(path), str(path))
    _mount(node, "mount", "-o", "remount,ro,bind", str(path))


def unbind(node: Node, path: Path) -> None:
    """Take back the last ``bind_empty`` or ``bind_read_only`` of a path; files open below it do not prevent it."""
    _mount(node, "umount", "--lazy", str(path))


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def plain_environment() -> dict[str, str]:
    """Return the environment without what Ray has set for this process; compiled kernels stay where they are."""
    plain = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    return {"XDG_CACHE_HOME": str(Path("~/.cache").expanduser()), **plain, "PYTHONPATH": str(ROOT)}


def _mount(node: Node, *command: str) -> None:
    assert node.has_own_mounts, f"{node.name} shares the mounts of this machine: start the cluster with own_mounts=True"
    subprocess.run(["nsenter", f"--mount=/proc/{node.process.pid}/ns/mnt", *command], check=True)


def _wait_until(condition, node: Node) -> None:
    deadline = time.monotonic() + START_S
    while not condition():
        if node.process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"node {node.name} did not start: {node.log[-2000:]}")
        time.sleep(0.05)


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _below(pid: int) -> list[int]:
    """Ids of all processes that a process has started, and that these have started."""
    with contextlib.suppress(OSError):
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [found for child in map(int, children) for found in (child, *_below(child))]
    return []


def _command_line(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""
