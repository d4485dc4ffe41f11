"""A stand-in for the Hugging Face hub: one data set repository over HTTP, as far as exports use it."""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

REPOSITORY = "owner/clean"


class Hub:
    """The state of the hub.

    Attributes:
        commits: files of each commit by its id, the oldest first; empty as long as the repository does not exist.
        large: large files by their SHA-256.
        is_private: as the repository was created.
    """

    def __init__(self) -> None:
        self.commits: dict[str, dict[str, bytes]] = {}
        self.large: dict[str, bytes] = {}
        self.is_private: bool | None = None

    @property
    def head(self) -> str:
        return list(self.commits)[-1]

    @property
    def files(self) -> dict[str, bytes]:
        return self.commits[self.head]

    def add(self, files: dict[str, bytes]) -> str:
        name = hashlib.sha1(f"{len(self.commits)}{sorted(files)}".encode()).hexdigest()
        self.commits[name] = files
        return name

    def tree(self, revision: str) -> list[dict[str, Any]]:
        files = self.commits[self.head if revision == "main" else revision]
        return [self.entry(name, content) for name, content in files.items()]

    def entry(self, name: str, content: bytes) -> dict[str, Any]:
        digest = hashlib.sha256(content).hexdigest()
        lfs = {"oid": digest, "size": len(content), "pointerSize": 100} if digest in self.large else None
        return {"type": "file", "path": name, "oid": digest[:40], "size": len(content), **({"lfs": lfs} if lfs else {})}


class Answers(BaseHTTPRequestHandler):
    """Answers requests by the table at the end of this class."""

    hub: Hub

    def log_message(self, *_: object) -> None:
        pass

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def reply(self, content: object, status: int = 200, **headers: str) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def handle_any(self) -> None:
        path = self.path.partition("?")[0]
        for pattern, answer in ROUTES.items():
            if found := re.fullmatch(f"{self.command} {pattern}", f"{self.command} {path}"):
                needs_repository = answer is not Answers.create
                if needs_repository and not self.hub.commits:
                    self.body()
                    self.reply({"error": "Repository not found"}, 404, X_Error_Code="RepoNotFound")
                else:
                    answer(self, *found.groups())
                return
        self.reply({"error": f"{self.command} {self.path} is not one of the stand-in"}, 501)

    do_GET = do_HEAD = do_POST = do_PUT = handle_any

    def create(self) -> None:
        given = json.loads(self.body())
        self.hub.is_private = given.get("private") or given.get("visibility") == "private"
        self.hub.add({".gitattributes": b"*.parquet filter=lfs\n"})
        self.reply({"url": f"http://{self.headers['Host']}/datasets/{REPOSITORY}"})

    def validate(self) -> None:
        self.body()
        self.reply({"errors": [], "warnings": []})

    def info(self) -> None:
        self.reply({"id": REPOSITORY, "sha": self.hub.head, "siblings": [{"rfilename": n} for n in self.hub.files]})

    def tree(self, revision: str) -> None:
        self.reply(self.hub.tree(revision))

    def paths_info(self, revision: str) -> None:
        given = self.body().decode()
        wanted = json.loads(given)["paths"] if given.startswith("{") else re.findall(r"paths=([^&]+)", given)
        names = {name.replace("%2F", "/") for name in wanted}
        self.reply([entry for entry in self.hub.tree(revision) if entry["path"] in names])

    def preupload(self) -> None:
        names = [file["path"] for file in json.loads(self.body())["files"]]
        modes = {name: "lfs" if name.endswith(".parquet") else "regular" for name in names}
        self.reply({"files": [{"path": n, "uploadMode": mode, "shouldIgnore": False} for n, mode in modes.items()]})

    def batch(self) -> None:
        objects = json.loads(self.body())["objects"]
        for one in objects:
            href = f"http://{self.headers['Host']}/upload/{one['oid']}"
            one["actions"] = {"upload": {"href": href, "header": {}}}
        self.reply({"transfer": "basic", "objects": objects})

    def upload(self, digest: str) -> None:
        self.hub.large[digest] = self.body()
        self.reply(b"")

    def commit(self) -> None:
        lines = [json.loads(line) for line in self.body().splitlines()]
        files = dict(self.hub.files)
        for line in lines:
            value = line["value"]
            if line["key"] == "header" and value.get("parentCommit") not in (None, self.hub.head):
                self.reply({"error": "A commit has happened since"}, 412)
                return
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.large[value["oid"]]
            elif line["key"] == "deletedFile":
                del files[value["path"]]
        name = self.hub.add(files)
        url = f"http://{self.headers['Host']}/datasets/{REPOSITORY}/commit/{name}"
        self.reply({"commitOid": name, "commitUrl": url, "success": True, "hookOutput": ""})

    def resolve(self, revision: str, name: str) -> None:
        files = self.hub.commits[self.hub.head if revision == "main" else revision]
        if name not in files:
            self.reply({"error": "Entry not found"}, 404, X_Error_Code="EntryNotFound")
            return
        content, span = files[name], re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if span:
            content = content[int(span[1]) : int(span[2]) + 1 if span[2] else None]
        headers = {"ETag": hashlib.sha256(files[name]).hexdigest(), "X_Repo_Commit": revision}
        self.reply(content, 206 if span else 200, **headers)

    def squash(self) -> None:
        self.body()
        files = self.hub.files
        self.hub.commits.clear()
        self.hub.add(files)
        self.reply({})

    def list_large(self) -> None:
        one = {"filename": "x", "pushedAt": "2026-01-01T00:00:00.000Z", "size": 1}
        self.reply([{**one, "fileOid": digest, "oid": digest} for digest in self.hub.large])

    def delete_large(self) -> None:
        for digest in json.loads(self.body())["deletions"]["sha"]:
            del self.hub.large[digest]
        self.reply({})


_API = rf"/api/datasets/{REPOSITORY}"
ROUTES = {
    "/api/repos/create": Answers.create,
    "/api/validate-yaml": Answers.validate,
    rf"{_API}(?:/revision/\w+)?": Answers.info,
    rf"{_API}/tree/(\w+)": Answers.tree,
    rf"{_API}/paths-info/(\w+)": Answers.paths_info,
    f"{_API}/preupload/main": Answers.preupload,
    f"{_API}/commit/main": Answers.commit,
    f"{_API}/super-squash/main": Answers.squash,
    f"{_API}/lfs-files": Answers.list_large,
    f"{_API}/lfs-files/batch": Answers.delete_large,
    rf"/datasets/{REPOSITORY}.git/info/lfs/objects/batch": Answers.batch,
    r"/upload/(\w+)": Answers.upload,
    rf"/datasets/{REPOSITORY}/resolve/(\w+)/(.+)": Answers.resolve,
}


@contextmanager
def hub_server() -> Iterator[tuple[Hub, str]]:
    """Serve an empty hub on loopback; yield its state and its address."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Answers,), {"hub": hub}))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
