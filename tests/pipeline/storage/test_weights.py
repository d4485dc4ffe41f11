"""Weights are stored once where other machines can fetch them, and fetched once per machine, verified."""

import hashlib
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import pipeline.storage.weights
from moebius.checkpoint import CheckpointError
from moebius.weights import WeightsUnavailableError, find_weights
from pipeline.errors import ConfigError
from pipeline.storage.storage import Storage
from pipeline.storage.weights import SUMS, fetch_weights, publish_weights
from tests.conftest import ROOT, write_tiny_weights
from tests.drill.faulty_proxy import proxy
from tests.pipeline.storage.test_storage import refusing_server

FETCH = """
import json, sys
from pipeline.storage.weights import fetch_weights
weights = fetch_weights(sys.argv[1], json.loads(sys.argv[2]))
weights.load()
print(weights.fingerprint)
"""


@pytest.fixture
def sink(tmp_path, s3_server) -> Storage:
    return Storage(f"s3://bucket/{tmp_path.name}", s3_server)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    """The cache of this machine, which is empty."""
    monkeypatch.setenv("MOEBIUS_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}


def test_weights_of_this_machine_are_stored_once_with_sums_that_sha256sum_takes(sink, tiny_weights, tmp_path, caplog):
    caplog.set_level("INFO", "pipeline")
    weights = find_weights(str(tiny_weights))
    uri = publish_weights(weights, sink)
    assert uri == f"{sink}/weights/{weights.fingerprint}"
    stored = {file.key: file.version for file in sink.list_files()}
    assert publish_weights(weights, sink) == uri
    assert {file.key: file.version for file in sink.list_files()} == stored
    assert caplog.text.count("copying weights") == 1
    for key in stored:
        target = tmp_path / "copy" / key
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(sink.read(key))
    folder = tmp_path / "copy" / "weights" / weights.fingerprint
    checked = subprocess.run(["sha256sum", "--strict", "-c", SUMS], cwd=folder, capture_output=True, text=True)
    assert checked.returncode == 0 and checked.stdout.count(": OK") == len(stored) - 1, checked.stderr


def test_machine_without_the_path_fetches_what_was_stored_once(sink, s3_server, tmp_path, home):
    write_tiny_weights(tmp_path)
    weights = find_weights(str(tmp_path))
    uri = publish_weights(weights, sink)
    for path in tmp_path.iterdir():
        path.rename(path.with_name(f"{path.name}-hidden"))
    with pytest.raises(CheckpointError):
        find_weights(str(tmp_path))
    command = [sys.executable, "-c", FETCH, uri, json.dumps(s3_server)]
    for _ in range(2):
        started = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=os.environ) for _ in "ab"]
        assert [process.communicate()[0].strip() for process in started] == [weights.fingerprint] * 2
    (folder,) = (home / "fetched").iterdir()
    assert sum(path.suffix == ".safetensors" for path in folder.rglob("*")) == 2
    assert not [path for path in folder.rglob(".*") if path.name != ".lock"]


def test_processes_of_a_machine_wait_for_the_one_that_copies(sink, s3_server, tiny_weights):
    uri = publish_weights(find_weights(str(tiny_weights)), sink)
    read = []

    def note(request, forward):
        if request.method == "GET" and "safetensors" in request.path:
            read.append(request.path)
        return forward(request)

    with proxy(s3_server["endpoint_url"], note) as url, ThreadPoolExecutor(4) as threads:
        options = {**s3_server, "endpoint_url": url}
        found = list(threads.map(lambda _: fetch_weights(uri, options).fingerprint, range(4)))
    assert len(set(found)) == 1 and len(read) == len(set(read)) == 2


def test_same_weights_of_another_sink_are_fetched_no_second_time(sink, s3_server, tiny_weights, home):
    weights = find_weights(str(tiny_weights))
    fetch_weights(publish_weights(weights, sink), s3_server)
    other = Storage(f"{sink}/other", s3_server)
    assert fetch_weights(publish_weights(weights, other), s3_server).fingerprint == weights.fingerprint
    assert len(list((home / "fetched").iterdir())) == 1


def test_copy_that_is_damaged_on_this_machine_is_fetched_again(sink, s3_server, tiny_weights, home):
    weights = find_weights(str(tiny_weights))
    uri = publish_weights(weights, sink)
    fetched = fetch_weights(uri, s3_server)
    fetched.denoiser.write_bytes(b"")  # as after a loss of power
    assert fetch_weights(uri, s3_server).fingerprint == weights.fingerprint


def test_large_files_are_fetched_in_blocks(sink, s3_server, tiny_weights, monkeypatch):
    monkeypatch.setattr(pipeline.storage.weights, "BLOCK_BYTES", 10_000)
    weights = find_weights(str(tiny_weights))
    fetched = fetch_weights(publish_weights(weights, sink), s3_server)
    assert fetched.denoiser.read_bytes() == weights.denoiser.read_bytes() and fetched.denoiser != weights.denoiser


def test_published_weights_have_the_same_identity_whatever_the_file_was_called(sink, s3_server, tmp_path):
    write_tiny_weights(tmp_path)
    checkpoint = tmp_path / "step 1000.safetensors"
    (tmp_path / "diffusion_pytorch_model.safetensors").rename(checkpoint)
    weights = find_weights(str(checkpoint))
    assert fetch_weights(publish_weights(weights, sink), s3_server).fingerprint == weights.fingerprint


def test_wrong_bytes_are_refused_with_a_sentence_and_not_kept(sink, s3_server, tiny_weights, home):
    uri = publish_weights(find_weights(str(tiny_weights)), sink)
    key = next(file.key for file in sink.list_files() if file.key.endswith("vae/diffusion_pytorch_model.safetensors"))
    sink.write(key, bytes(sink.stat(key).size_bytes))
    with pytest.raises(WeightsUnavailableError, match="safetensors does not have the bytes that SHA256SUMS beside it"):
        fetch_weights(uri, s3_server)
    assert not any(data.strip(b"\0") == b"" for data in files(home).values())
    sink.delete(key)
    with pytest.raises(ConfigError, match=r"lacks vae/diffusion_.*, which its SHA256SUMS names"):
        fetch_weights(uri, s3_server)
    publish_weights(find_weights(str(tiny_weights)), sink)
    fetch_weights(uri, s3_server).load()


def test_own_folder_in_a_bucket_is_verified_by_its_sums_and_needs_none(sink, s3_server, tiny_weights):
    for path in tiny_weights.rglob("*.*"):
        sink.write(str(path.relative_to(tiny_weights)), path.read_bytes())
    assert fetch_weights(str(sink), s3_server).fingerprint == find_weights(str(tiny_weights)).fingerprint
    sink.write(SUMS, f"{hashlib.sha256(b'').hexdigest()} *./config.json\n".encode())
    with pytest.raises(WeightsUnavailableError, match=r"config.json does not have the bytes"):
        fetch_weights(str(sink), s3_server)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_full_disk_says_what_helps(sink, s3_server, tiny_weights, home, monkeypatch):
    uri = publish_weights(find_weights(str(tiny_weights)), sink)
    plain = Path.open
    monkeypatch.setattr(Path, "open", lambda path, mode="r": plain(Path("/dev/full") if mode == "ab" else path, mode))
    with pytest.raises(WeightsUnavailableError, match=r"cannot keep weights in .*: No space left on device\. Set"):
        fetch_weights(uri, s3_server)
    monkeypatch.undo()
    assert files(home) == {}


def test_cache_that_cannot_be_made_says_what_helps(sink, s3_server, tiny_weights, monkeypatch):
    uri = publish_weights(find_weights(str(tiny_weights)), sink)
    monkeypatch.setenv("MOEBIUS_HOME", "/proc/1/home")
    with pytest.raises((WeightsUnavailableError, ConfigError), match="/proc/1/home"):
        fetch_weights(uri, s3_server)


def test_sink_that_takes_no_weights_says_so(tiny_weights):
    with (
        refusing_server(403, "AccessDenied") as (options, _),
        pytest.raises(ConfigError, match=r"cannot copy them to s3://bucket/x/weights/\w+, from where"),
    ):
        publish_weights(find_weights(str(tiny_weights)), Storage("s3://bucket/x", options))


def test_stand_in_has_no_files_to_store(sink):
    with pytest.raises(ValueError, match="untrained has no files"):
        publish_weights(find_weights("untrained"), sink)
