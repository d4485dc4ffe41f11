import io

import pyarrow as pa
import pytest

from pipeline.config.sink import SinkConfig
from pipeline.records import OK, Record
from pipeline.sinks.registry import SINK_FORMATS
from pipeline.sinks.shards import format_of, sample_count, shard_formats

NOTHING = pa.record_batch([], schema=pa.schema([]))


def test_every_registered_format_is_taken_and_only_shards_have_a_suffix():
    sharded = {name for name in SINK_FORMATS if SinkConfig(format=name).is_sharded}
    assert {SINK_FORMATS.load(name) for name in sharded} == set(shard_formats().values())


@pytest.mark.parametrize("suffix", shard_formats())
def test_results_of_any_shard_are_found_by_their_names(suffix):
    file, shard_format = io.BytesIO(), format_of(f"data/x{suffix}")
    shard = shard_format(file)
    record = Record("a/b.png", OK, output_format="png", width=1, height=1)
    names = [shard.add(record, result, NOTHING) for result in (b"one", b"two")]
    shard.close()
    content = file.getvalue()
    assert [shard_format.read_image(io.BytesIO(content), name) for name in names] == [b"one", b"two"]
    members = list(shard_format.read(io.BytesIO(content)))
    assert [(member.name, shard_format.image_of(member)) for member in members] == list(
        zip(names, (b"one", b"two"), strict=True)
    )


def test_shards_of_other_formats_are_none_of_ours():
    assert sample_count("data/0123456789abcdef-00003.tar") == 3
    assert sample_count("data/0123456789abcdef-00003.zip") is None
