import logging
import re

import numpy as np
import pytest
import torch

from moebius.train.photos import PhotosError
from pipeline.training.chunks import as_row, as_text, from_row, from_text, reader_of
from pipeline.training.order import Position, SampleOrder
from pipeline.training.stream import StreamedSource
from tests.conftest import textured
from tests.pipeline.training.conftest import FORMATS, IN_SHARD, SHARDS, photo_bytes, png, write_source, write_tar

TOTAL = SHARDS * IN_SHARD


def source_of(settings, rank=0, world=1):
    return StreamedSource(SampleOrder(settings, rank, world))


def equal(one, other):
    return all(
        torch.equal(getattr(one, name), getattr(other, name)) for name in ("images", "masks", "seeds", "objects")
    )


@pytest.mark.parametrize("kind", FORMATS)
def test_samples_do_not_depend_on_the_size_of_batches(kind, stream_settings):
    by_four, by_six = source_of(stream_settings(kind)), source_of(stream_settings(kind))
    fours = [by_four.batch(index, 4) for index in range(45)]  # beyond the end of the epoch
    sixes = [by_six.batch(index, 6) for index in range(30)]
    assert torch.equal(torch.cat([crops.seeds for crops in fours]), torch.cat([crops.seeds for crops in sixes]))
    assert torch.equal(torch.cat([crops.images for crops in fours]), torch.cat([crops.images for crops in sixes]))
    assert len({int(seed) for crops in fours for seed in crops.seeds}) == 180  # in the second epoch others


def test_the_same_photos_in_every_format_are_the_same_samples_but_for_their_names(stream_settings):
    for kind in FORMATS:
        crops = source_of(stream_settings(kind)).batch(0, 3)
        assert crops.images.shape == (3, 3, 64, 64) and crops.images.abs().max() <= 1
        assert crops.masks.shape == (3, 1, 64, 64) and set(crops.masks.unique().tolist()) == {0.0, 1.0}
        assert not crops.objects.any()


@pytest.mark.parametrize("kind", FORMATS)
def test_a_source_that_resumes_goes_on_with_the_same_samples(kind, stream_settings):
    whole = source_of(stream_settings(kind), 1, 2)
    batches = [whole.batch(index, 5) for index in range(25)]  # an epoch and a half
    for cut in (0, 1, 9, 16, 20):
        broken = source_of(stream_settings(kind), 1, 2)
        for index in range(cut):
            broken.batch(index, 5)
        resumed = source_of(stream_settings(kind), 1, 2)
        resumed.resume(broken.state())
        assert all(equal(resumed.batch(index, 5), batches[index]) for index in range(cut, 25))


@pytest.mark.parametrize("damaged_count", [0, 1, 7])  # at the end of an epoch, whose last group has six photos
def test_a_source_that_resumes_after_any_sample_goes_on_with_the_next(damaged_count, tmp_path, stream_settings):
    def source(name, damaged=()):
        def data_of(number):
            return b"no photo" if number in damaged else photo_bytes(number)

        if not (tmp_path / name).exists():
            write_source(tmp_path / name, "webdataset", shards=6, in_shard=3, data_of=data_of)
        return source_of(stream_settings("webdataset", tmp_path / name, shuffle=5))

    places = [(chunk.group, place) for chunk in source("good").order.epoch_chunks(Position()) for place in chunk.places]
    places.sort(key=lambda pair: (pair[0], pair[1].offset))
    last = {int(place.ref.sample_id[-4:]) for _, place in places[18 - damaged_count :]}
    whole, seeds, states = source("some", last), [], []
    for index in range(41):  # two epochs and a part of the third
        states.append(whole.state())
        seeds += whole.batch(index, 1).seeds.tolist()
    for cut, state in enumerate(states[:-3]):
        resumed = source("some", last)
        resumed.resume(state)
        assert resumed.batch(0, 3).seeds.tolist() == seeds[cut : cut + 3], f"cut after {cut} samples"


def test_a_source_that_resumes_with_damaged_photos_alone_ends_the_training(tmp_path, stream_settings):
    folder = write_source(tmp_path / "some", "images", shards=1, data_of=lambda number: b"no photo")
    source = source_of(stream_settings("images", folder))
    source.resume(Position(1, 0, 7).state())
    with pytest.raises(PhotosError, match=r"none of 23 photos"):
        source.batch(0, 1)


def test_examples_are_the_same_at_any_time_and_do_not_move_the_source(stream_settings):
    source, other = (source_of(stream_settings("webdataset"), 1, 2) for _ in range(2))
    first, examples = source.batch(0, 4), source.examples(6)
    source.batch(1, 4)
    assert equal(source.examples(6), examples) and equal(other.examples(6), examples)
    assert equal(other.batch(0, 4), first)


def test_a_source_that_has_changed_begins_its_epoch_anew(tmp_path, stream_settings, caplog):
    folder = write_source(tmp_path / "some", "images", shards=1)
    state = Position(2, 0, 7).state() | {"files": IN_SHARD - 1}
    source = source_of(stream_settings("images", folder))
    source.resume(state)
    assert source.position == Position(2)
    assert "had 22 files at the checkpoint and has 23 now: epoch 2 begins anew" in caplog.text


def test_damaged_photos_are_named_and_counted_and_the_others_come(tmp_path, stream_settings, caplog):
    def data_of(number):
        return photo_bytes(number)[: 300 if number % 4 == 0 else None]

    folder = write_source(tmp_path / "some", "webdataset", shards=2, data_of=data_of)
    source = source_of(stream_settings("webdataset", folder))
    with caplog.at_level(logging.WARNING):
        crops = [source.batch(index, 1) for index in range(40)]  # 34 are good
    assert len({int(batch.seeds[0]) for batch in crops}) == 40
    lines = [record.getMessage() for record in caplog.records]
    named = [line for line in lines if line.startswith("left out: ")]
    numbers = [int(re.search(r"/(\d{4})", line)[1]) for line in named]
    assert len(numbers) == 10 and all(number % 4 == 0 for number in numbers)
    (told,) = [line for line in lines if line.startswith("epoch 0: ")]
    assert told.startswith("epoch 0: 12 photos are left out, 34 were used; in all: ")


def test_a_source_of_damaged_photos_alone_ends_the_training(tmp_path, stream_settings):
    folder = write_source(tmp_path / "some", "images", shards=1, data_of=lambda number: b"no photo")
    with pytest.raises(PhotosError, match=r"none of 23 photos of the source can be trained on: UnreadableImage 23"):
        source_of(stream_settings("images", folder)).batch(0, 1)


def test_masks_of_objects_train_the_ids_of_the_foreground(tmp_path, stream_settings):
    mask = np.zeros((100, 100), np.uint8)
    mask[20:80, 20:80] = 255
    parts = {"png": png(textured(100, 100)), "seg.png": png(mask)}
    write_tar(tmp_path / "a.tar", [(f"{n:02}.{part}", data) for n in range(40) for part, data in parts.items()])
    settings = stream_settings("webdataset", tmp_path, mask={"kind": "member", "member": "seg.png"}, object_share=0.5)
    objects = source_of(settings).batch(0, 40).objects
    assert 8 < int(objects.sum()) < 32


@pytest.mark.parametrize("missing", ["fail", "empty"])
def test_a_sample_without_its_mask_is_left_out_or_has_a_random_one(missing, tmp_path, stream_settings, caplog):
    whole = png(np.full((72, 80), 255, np.uint8))
    write_tar(tmp_path / "a.tar", [("1.png", photo_bytes(1)), ("2.png", photo_bytes(2)), ("2.seg.png", whole)])
    mask = {"kind": "member", "member": "seg.png", "missing": missing}
    source = source_of(stream_settings("webdataset", tmp_path, mask=mask))
    source.batch(0, 2)
    assert ("MissingMask: a.tar/1" in caplog.text) == (missing == "fail")


def test_chunks_pass_through_text_and_rows_unchanged(stream_settings):
    settings = stream_settings("webdataset")
    chunk = next(iter(SampleOrder(settings).chunks(Position())))
    assert from_text(as_text(chunk)) == chunk
    decoded = reader_of(settings).decode(chunk)
    decoded.samples[3] = "BrokenImage: x: damaged"
    back = from_row({name: value[0] for name, value in as_row(decoded, 64).items()})
    assert (back.epoch, back.group, back.block, back.block_count, back.offsets) == (
        *(decoded.epoch, decoded.group, decoded.block, decoded.block_count),
        decoded.offsets,
    )
    assert back.samples[3] == decoded.samples[3]
    for ours, theirs in zip(back.samples[:3], decoded.samples[:3], strict=True):
        assert np.array_equal(ours.image, theirs.image) and np.array_equal(ours.hole, theirs.hole)
        assert (ours.seed, ours.is_object) == (theirs.seed, theirs.is_object)
