import os

import pytest

from pipeline.errors import ConfigError
from pipeline.storage import STAGING, Storage


@pytest.fixture(params=["local", "memory", "s3"])
def storage(request, tmp_path):
    if request.param == "local":
        return Storage(str(tmp_path))
    if request.param == "memory":
        return Storage(f"memory://{tmp_path.name}")
    return Storage(f"s3://bucket/{tmp_path.name}", request.getfixturevalue("s3_server"))


def test_write_replaces_and_read_returns(storage):
    storage.write("data/a b/ü#?.bin", b"one")
    storage.write("data/a b/ü#?.bin", b"two")
    assert storage.read("data/a b/ü#?.bin") == b"two"
    assert [(file.key, file.size_bytes) for file in storage.list_files("data")] == [("data/a b/ü#?.bin", 3)]


def test_create_is_exclusive(storage):
    storage.create("manifest/part", b"first")
    with pytest.raises(FileExistsError):
        storage.create("manifest/part", b"second")
    assert storage.read("manifest/part") == b"first"


def test_version_changes_with_the_content(storage):
    storage.write("x", b"aaa")
    before = storage.stat("x").version
    assert storage.stat("x").version == before
    storage.write("x", b"bbbb")
    assert storage.stat("x").version != before


def test_missing_file_and_delete(storage):
    with pytest.raises(FileNotFoundError):
        storage.read("none")
    storage.delete("none")
    storage.write("some", b"1")
    storage.delete("some")
    assert list(storage.list_files()) == []


@pytest.mark.parametrize("key", ["../x", "a/../../x", "/etc/x", "a\\..\\x", "a\0b"])
def test_key_cannot_leave_the_root(storage, key):
    with pytest.raises(ValueError, match="would leave"):
        storage.write(key, b"")


def test_local_uri_is_a_plain_absolute_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    storage = Storage("sink/")
    storage.write("data/x", b"1")
    assert storage.uri("data/x") == str(tmp_path / "sink/data/x")
    assert os.listdir(tmp_path / "sink" / STAGING) == []


def test_unknown_protocol_is_a_configuration_error():
    with pytest.raises(ConfigError, match="nope://"):
        Storage("nope://bucket/x")


def test_secrets_do_not_appear_in_text(s3_server):
    storage = Storage("s3://bucket/x", s3_server)
    assert s3_server["secret"] not in f"{storage} {storage.uri('k')}"
