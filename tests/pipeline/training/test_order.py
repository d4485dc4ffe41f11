from itertools import pairwise

import pytest

from pipeline.errors import ConfigError
from pipeline.training import order as order_module
from pipeline.training.order import CHUNK, Position, SampleOrder
from tests.pipeline.training.conftest import FORMATS, IN_SHARD, SHARDS, write_source

TOTAL = SHARDS * IN_SHARD


def names_in_order(chunks):
    """Positions and names of the samples of chunks, as they are emitted: block by block, sorted by offset."""
    found = [
        ((chunk.epoch, chunk.group, chunk.block, place.offset), place.ref.sample_id)
        for chunk in chunks
        for place in chunk.places
    ]
    assert [key[:3] for key, _ in found] == sorted(key[:3] for key, _ in found)
    return sorted(found)


@pytest.fixture(params=[1, 4])
def small_groups(request, monkeypatch):
    monkeypatch.setattr(order_module, "GROUP_SHARDS", request.param)
    monkeypatch.setattr(order_module, "GROUP_FILES", 40 * request.param)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("world", [1, 3])
def test_an_epoch_has_every_sample_once_over_all_processes(kind, world, stream_settings, small_groups):
    found = [
        name
        for rank in range(world)
        for _, name in names_in_order(SampleOrder(stream_settings(kind), rank, world).epoch_chunks(Position()))
    ]
    assert len(found) == TOTAL and len(set(found)) == TOTAL


@pytest.mark.parametrize("kind", FORMATS)
def test_every_epoch_and_seed_has_an_order_of_its_own(kind, stream_settings):
    def names(epoch, seed):
        chunks = SampleOrder(stream_settings(kind, seed=seed)).epoch_chunks(Position(epoch))
        return tuple(name for _, name in names_in_order(chunks))

    assert names(1, 0) == names(1, 0)
    assert len({names(0, 0), names(1, 0), names(0, 1), tuple(sorted(names(0, 0)))}) == 4


@pytest.mark.parametrize("kind", FORMATS)
def test_what_follows_a_position_is_the_rest_of_the_epoch(kind, stream_settings, small_groups):
    whole = names_in_order(SampleOrder(stream_settings(kind), 1, 2).epoch_chunks(Position(3)))
    for index, ((_, group, _, offset), _) in enumerate(whole):
        if index % 7 and offset:
            continue
        rest = SampleOrder(stream_settings(kind), 1, 2).epoch_chunks(Position(3, group, offset))
        assert names_in_order(rest) == whole[index:]


def test_neighbours_of_a_shard_are_spread_and_read_together(stream_settings):
    chunks = list(SampleOrder(stream_settings("webdataset")).epoch_chunks(Position()))
    assert max(len(chunk.places) for chunk in chunks) == CHUNK
    reads = [(place.ref.file, place.ref.locator[0]) for place in chunks[0].places]
    assert reads == sorted(reads)
    emitted = [name for _, name in names_in_order(chunks)]
    adjacent = sum(int(one[-4:]) + 1 == int(other[-4:]) for one, other in pairwise(emitted))
    assert adjacent < 0.1 * TOTAL


def test_epochs_follow_each_other_without_end(stream_settings):
    epochs = set()
    for chunk in SampleOrder(stream_settings("images")).chunks(Position(4)):
        epochs.add(chunk.epoch)
        if chunk.epoch > 6:
            break
    assert epochs == {4, 5, 6, 7}


def test_fewer_shards_than_processes_are_refused(tmp_path, stream_settings):
    folder = write_source(tmp_path / "one", "webdataset", shards=1)
    with pytest.raises(ConfigError, match=r"source\.uri holds 1 files, fewer than processes=2"):
        SampleOrder(stream_settings("webdataset", folder), 0, 2)


def test_a_source_without_images_is_refused(tmp_path, stream_settings):
    (tmp_path / "notes.txt").write_text("none")
    with pytest.raises(ConfigError, match="no image below"):
        SampleOrder(stream_settings("images", tmp_path))
