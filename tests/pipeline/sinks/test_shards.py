import fsspec
import pyarrow as pa
import pytest
from fsspec.implementations.local import LocalFileSystem

from pipeline.records import OK, Record
from pipeline.sinks.results import read_result
from pipeline.sinks.shards import ShardWriter, read_shard, sample_count
from pipeline.storage.storage import Storage


@pytest.mark.parametrize("carried", ["json", "meta.json", "txt"])
def test_samples_of_a_tar_shard_are_told_apart_whatever_they_carry(carried):
    with ShardWriter(".tar") as writer:
        names = [
            writer.add(Record(name, OK, output_format="png"), b"image", pa.record_batch({carried: [b'{"a": 1}']}))
            for name in ("x/a.png", "x/b.png", "x/a.jpg")
        ]
        key = writer.finish()
        with open(writer.path, "rb") as file:
            members = list(read_shard(key, file))
    assert names == [member.name for member in members] == ["x/a.png", "x/b.png", "x/a-2.png"]
    assert sample_count(f"s3://bucket/out/data/{key}") == 3
    assert {len(member.content) for member in members} == {2 if carried == "json" else 3}


@pytest.mark.parametrize("name", ["a.png", "x::y/1.png", "100%/#?.png"])
def test_result_of_any_name_is_read_back(tmp_path, s3_server, name):
    for root, options in ((str(tmp_path / "sink"), {}), (f"s3://bucket/{tmp_path.name}", s3_server)):
        storage = Storage(root, options)
        storage.write(f"data/{name}", b"result")
        row = {"output_uri": storage.uri(f"data/{name}"), "output_member": None}
        assert read_result(row, options) == b"result"


class Cluster(LocalFileSystem):
    """Stands for file systems without buckets, such as hdfs: each path begins with a slash."""

    protocol = "cluster"

    @classmethod
    def _strip_protocol(cls, path):
        return path.removeprefix("cluster://")

    def unstrip_protocol(self, name):
        return f"cluster://{name}"


def test_result_on_a_file_system_without_buckets_is_read_back(tmp_path):
    fsspec.register_implementation("cluster", Cluster, clobber=True)
    (tmp_path / "data").mkdir()
    storage = Storage(f"cluster://{tmp_path}")
    storage.write("data/x::y.png", b"result")
    assert read_result({"output_uri": storage.uri("data/x::y.png"), "output_member": None}, {}) == b"result"
