import pytest

from pipeline.storage.storage import Storage
from pipeline.training.remote_folder import RemoteFolder


@pytest.fixture
def storage(s3_server, request):
    return Storage(f"s3://bucket/{request.node.name}/run", s3_server)


def test_a_run_elsewhere_finds_what_was_published(storage, tmp_path):
    first, second = RemoteFolder(storage, tmp_path / "a"), RemoteFolder(storage, tmp_path / "b")
    first.fetch()
    assert list((tmp_path / "a").iterdir()) == []
    files = {"checkpoint.pt": b"1" * 100, "losses.csv": b"step\n", "vae/config.json": b"{}", "x.partial": b"half"}
    for name, data in files.items():
        path = tmp_path / "a" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    first.publish()
    second.fetch()
    assert {path.name: path.read_bytes() for path in (tmp_path / "b").iterdir()} == {
        name: files[name] for name in ("checkpoint.pt", "losses.csv")
    }
    assert storage.read("vae/config.json") == b"{}" and "x.partial" not in {file.key for file in storage.list_files()}


def test_the_checkpoint_is_copied_last_and_unchanged_files_once(storage, tmp_path, monkeypatch):
    folder, sent = RemoteFolder(storage, tmp_path), []
    monkeypatch.setattr(Storage, "upload", lambda self, key, path: sent.append(key))
    for name in ("checkpoint.pt", "losses.csv", "config.json", "weights.bin"):
        (tmp_path / name).write_text(name)
    folder.publish()
    assert sent[-1] == "checkpoint.pt" and len(sent) == 4
    (tmp_path / "losses.csv").write_text("more rows")
    folder.publish()
    assert sent[4:] == ["losses.csv"]


def test_a_folder_of_another_key_is_refused(s3_server, tmp_path):
    storage = Storage("s3://bucket/run", s3_server | {"secret": "wrong"})
    with pytest.raises(OSError, match=r"."):
        RemoteFolder(storage, tmp_path).fetch()
