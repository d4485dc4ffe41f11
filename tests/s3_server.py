"""A real S3 server with credentials on loopback, for tests and drills."""

import contextlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import s3fs

KEYS = {"accessKey": "tester", "secretKey": "not-a-real-secret"}
ACTIONS = ["Admin", "Read", "Write", "List", "Tagging"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def s3_server(folder: Path) -> Iterator[dict[str, Any]]:
    """Serve the bucket ``bucket`` from a folder; yields the fsspec options that reach it."""
    identities = [{"name": "tester", "credentials": [KEYS], "actions": ACTIONS}]
    (folder / "keys.json").write_text(json.dumps({"identities": identities}))
    (folder / "data").mkdir()
    port = free_port()
    flags = {
        "ip": "127.0.0.1",
        "ip.bind": "127.0.0.1",
        "dir": folder / "data",
        "s3.config": folder / "keys.json",
        "s3.port": port,
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
        "admin.ui": "false",
        "webdav": "false",
        "master.telemetry": "false",
        "bucket": "bucket",
    }
    weed = Path(sys.executable).with_name("weed")
    with (folder / "log").open("wb") as log:
        command = [weed, "-logtostderr=true", "mini", *(f"-{name}={value}" for name, value in flags.items())]
        server = subprocess.Popen(command, stdout=log, stderr=log)
    options = {
        "key": KEYS["accessKey"],
        "secret": KEYS["secretKey"],
        "endpoint_url": f"http://127.0.0.1:{port}",
        "client_kwargs": {"region_name": "us-east-1"},
    }
    try:
        _wait_for_bucket(options, folder / "log")
        yield options
    finally:
        server.terminate()
        server.wait(timeout=30)


def _wait_for_bucket(options: dict[str, Any], log: Path) -> None:
    for _ in range(60):
        try:
            filesystem = s3fs.S3FileSystem(**options, use_listings_cache=False, skip_instance_cache=True)
            filesystem.pipe_file("bucket/.ready", b"")
            filesystem.rm_file("bucket/.ready")
            return
        except OSError:
            time.sleep(0.5)
    raise RuntimeError(f"the S3 server did not start: {log.read_text()[-2000:]}")
