"""Weights from a hub: a server on this machine that answers as the Hugging Face hub does."""

import shutil
import socket
import struct
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from huggingface_hub import constants

from moebius.checkpoint import CheckpointError
from moebius.weights.files import WeightsUnavailableError, find_weights

COMMIT = "0" * 40
REPOSITORY = "owner/models"


class _Hub(BaseHTTPRequestHandler):
    folder, breaks = None, False

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        repository, _, name = self.path.lstrip("/").partition("/resolve/main/")
        path = self.folder / name
        if repository != REPOSITORY or not path.is_file():
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound" if repository == REPOSITORY else "RepoNotFound")
            self.send_header("X-Repo-Commit", COMMIT)
            self.end_headers()
            return
        content = path.read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", f'"{name.replace("/", "-")}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content[: len(content) // 2] if self.breaks else content)
        if self.breaks:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()  # with a reset

    def log_message(self, *arguments):
        pass


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """The folder that the hub serves as a repository."""
    folder = tmp_path / "repository"
    folder.mkdir()
    handler = type("Hub", (_Hub,), {"folder": folder})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    Thread(target=server.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace("https://huggingface.co", endpoint)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("MOEBIUS_HOME", str(tmp_path / "home"))
    yield handler
    server.shutdown()
    server.server_close()


def test_sizes_and_autoencoder_are_fetched_with_a_checkpoint(hub, tiny_weights):
    shutil.copytree(tiny_weights, hub.folder / "mine")
    shutil.copytree(tiny_weights, hub.folder / "beside" / "mine")
    shutil.move(hub.folder / "beside" / "mine" / "vae", hub.folder / "beside" / "vae")
    shutil.copytree(tiny_weights, hub.folder, dirs_exist_ok=True)
    expected = find_weights(str(tiny_weights)).fingerprint
    name = "diffusion_pytorch_model.safetensors"
    for path in ("/mine", "/mine/", f"/mine/{name}", "/beside/mine", "", f"/{name}"):
        assert find_weights(f"hf://{REPOSITORY}{path}").fingerprint == expected, path


def test_what_was_fetched_is_found_without_network(hub, tiny_weights, monkeypatch):
    shutil.copytree(tiny_weights, hub.folder / "mine")
    path = hub.folder / "mine" / "diffusion_pytorch_model.safetensors"
    path.rename(path.with_suffix(".bin"))  # the second name that is looked for, as published checkpoints have
    before = find_weights(f"hf://{REPOSITORY}/mine")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert find_weights(f"hf://{REPOSITORY}/mine") == before


def test_what_the_hub_does_not_have_is_told_from_what_cannot_be_fetched(hub, tiny_weights, monkeypatch):
    with pytest.raises(
        CheckpointError, match=r"hf://owner/models/none holds no diffusion_pytorch_model\.safetensors or"
    ):
        find_weights(f"hf://{REPOSITORY}/none")
    for name in ("hf://owner/other", "hf://owner/a b"):
        with pytest.raises(WeightsUnavailableError, match="no such repository, or one that HF_TOKEN does not open"):
            find_weights(name)
    shutil.copytree(tiny_weights, hub.folder / "mine")
    hub.breaks = True
    with pytest.raises(WeightsUnavailableError, match="cannot fetch"):
        find_weights(f"hf://{REPOSITORY}/mine")
    hub.breaks = False
    find_weights(f"hf://{REPOSITORY}/mine").load()
