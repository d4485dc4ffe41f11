import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from moebius.autoencoder.vae import encode_pairs, load_vae
from moebius.network.functional import latent_mask
from pipeline.errors import ConfigError
from pipeline.storage.storage import Storage
from pipeline.training import latents as latents_module
from pipeline.training.latents import LatentFolder, weights_hash
from pipeline.training.order import SampleOrder
from pipeline.training.stream import StreamedSource
from tests.pipeline.training.conftest import write_source

COUNT = 50


@pytest.fixture(scope="module")
def vae(tiny_weights):
    return load_vae(tiny_weights / "vae")


@pytest.fixture(autouse=True)
def small_files(monkeypatch):
    monkeypatch.setattr(latents_module, "SHARD_SAMPLES", 20)


@pytest.fixture
def folder_of(stream_settings, vae):
    def folder(path, count=COUNT, kind="webdataset", **given):
        photos = StreamedSource(SampleOrder(stream_settings(kind, **given)))
        return LatentFolder(Storage(str(path)), photos, vae, 8, count)

    return folder


def test_latents_are_those_of_the_crops(folder_of, stream_settings, vae, tmp_path):
    folder = folder_of(tmp_path)
    assert not folder.is_complete()
    folder.encode()
    assert folder_of(tmp_path).is_complete()
    assert [pq.read_metadata(path).num_rows for path in sorted(tmp_path.glob("*.parquet"))] == [20, 20, 10]
    crops = StreamedSource(SampleOrder(stream_settings("webdataset"))).batch(0, COUNT)
    encoded = folder.stream(str(tmp_path), 0, 1).batch(0, COUNT)
    assert encoded.clean.shape == encoded.masked.shape == (COUNT, 4, 8, 8) and encoded.masks.shape == (COUNT, 1, 8, 8)
    for index in (0, 17, 49):
        generator = torch.Generator().manual_seed(int(crops.seeds[index]))
        noise = torch.randn(2, 1, 4, 8, 8, generator=generator)
        part = slice(index, index + 1)
        with torch.no_grad():
            clean, masked = encode_pairs(vae, crops.images[part], crops.masks[part], noise)
        at = int((encoded.clean - clean).abs().flatten(1).mean(dim=1).argmin())
        torch.testing.assert_close(encoded.clean[at : at + 1], clean, rtol=2e-3, atol=2e-3)  # float16
        torch.testing.assert_close(encoded.masked[at : at + 1], masked, rtol=2e-3, atol=2e-3)
        assert torch.equal(encoded.masks[at : at + 1], latent_mask(crops.masks[part], 8))


def test_every_epoch_has_all_latents_once_with_seeds_of_its_own(folder_of, tmp_path):
    folder = folder_of(tmp_path)
    folder.encode()
    stream = folder.stream(str(tmp_path), 0, 1)
    epochs = [stream.batch(0, COUNT) for _ in range(2)]
    pairs = [sorted(pair.numpy().tobytes() for pair in epoch.clean) for epoch in epochs]
    assert pairs[0] == pairs[1] and len(set(pairs[0])) == COUNT
    assert not set(epochs[0].seeds.tolist()) & set(epochs[1].seeds.tolist())
    assert torch.equal(stream.examples(3).images, folder.photos.examples(3).images)


def test_encoding_that_was_interrupted_goes_on_where_its_last_file_ends(folder_of, tmp_path, monkeypatch):
    folder_of(tmp_path / "whole").encode()
    write, broken = LatentFolder._write, folder_of(tmp_path / "broken")

    def until_second(self, number, rows):
        if number == 2:
            raise KeyboardInterrupt
        write(self, number, rows)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(LatentFolder, "_write", until_second)
        broken.encode()
    assert not folder_of(tmp_path / "broken").is_complete()
    folder_of(tmp_path / "broken").encode()
    for name in ("000000.parquet", "000001.parquet", "000002.parquet", "latents.json"):
        assert (tmp_path / "broken" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_latents_of_another_autoencoder_or_of_other_settings_are_refused(folder_of, vae, tmp_path):
    folder_of(tmp_path).encode()
    with pytest.raises(ConfigError, match=r"were made with samples=50, now it is 51: choose another folder"):
        folder_of(tmp_path, count=51).is_complete()
    with pytest.raises(ConfigError, match=r"were made with seed=0, now it is 1"):
        folder_of(tmp_path, seed=1).is_complete()
    (tmp_path / "latents.json").unlink()
    with pytest.raises(ConfigError, match=r"were made with seed=0, now it is 1"):
        folder_of(tmp_path, seed=1).encode()
    folder_of(tmp_path).encode()
    parameter = next(vae.parameters())
    with torch.no_grad():
        before = weights_hash(vae)
        parameter.flatten()[0] += 1
        try:
            assert weights_hash(vae) != before
            with pytest.raises(ConfigError, match=rf"made with autoencoder={before}, now it is {weights_hash(vae)}"):
                folder_of(tmp_path).is_complete()
        finally:
            parameter.flatten()[0] -= 1


SEGMENTS = {"kind": "member", "member": "seg.png", "missing": "empty"}


@pytest.mark.parametrize(
    ("before", "now", "told"),
    [
        ({}, {"kind": "images"}, r"source\.uri=\S+/webdataset, now it is \S+/images"),
        ({}, {"pattern": "0[0-2].tar"}, r"source\.pattern=\*\*/\*, now it is 0\[0-2\]\.tar"),
        ({}, {"shuffle": 51}, "shuffle=50, now it is 51"),
        ({}, {"mask": SEGMENTS}, "mask.kind=None, now it is member"),
        ({"mask": SEGMENTS}, {}, "mask.kind=member, now it is None"),
        ({"mask": SEGMENTS}, {"mask": SEGMENTS | {"dilate_px": 3}}, "mask.dilate_px=0, now it is 3"),
        ({"mask": SEGMENTS}, {"mask": SEGMENTS | {"missing": "fail"}}, "mask.missing=empty, now it is the default"),
        ({"mask": SEGMENTS}, {"mask": SEGMENTS, "object_share": 0.7}, "object_share=0.5, now it is 0.7"),
    ],
)
def test_latents_of_another_source_or_of_other_masks_are_refused(before, now, told, folder_of, tmp_path):
    folder_of(tmp_path, count=20, **before).encode()
    assert folder_of(tmp_path, count=20, **before).is_complete()
    with pytest.raises(ConfigError, match=f"were made with {told}: choose another folder"):
        folder_of(tmp_path, count=20, **now).is_complete()
    (tmp_path / "latents.json").unlink()
    with pytest.raises(ConfigError, match=f"were made with {told}: choose another folder"):
        folder_of(tmp_path, count=20, **now).encode()


@pytest.mark.parametrize("kind", ["foreign", "no Parquet", "footer"])
def test_a_file_that_is_not_of_latents_is_refused(kind, folder_of, tmp_path):
    path = tmp_path / "000000.parquet"
    pq.write_table(pa.table({"name": ["a"]}), path)
    if kind == "no Parquet":
        path.write_bytes(b"PAR1 but nothing else")
    if kind == "footer":  # its first byte says which field comes: Arrow raises OSError
        data = bytearray(path.read_bytes())
        data[-8 - int.from_bytes(data[-8:-4], "little")] ^= 0xFF
        path.write_bytes(data)
        with pytest.raises(OSError, match="thrift"):
            pq.read_metadata(path)
    with pytest.raises(ConfigError, match=r"000000\.parquet is no file of latents, or is damaged: delete it"):
        folder_of(tmp_path).encode()


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff"])
def test_damaged_settings_of_latents_are_refused(content, folder_of, tmp_path):
    (tmp_path / "latents.json").write_bytes(content)
    with pytest.raises(ConfigError, match=r"latents\.json is no file of latents, or is damaged: delete it"):
        folder_of(tmp_path).is_complete()


def test_secrets_in_the_uri_of_the_source_are_not_written_beside_latents(stream_settings):
    settings = stream_settings("images", "https://example.com/photos/?token=hunter")
    assert "example.com" in str(settings.deciding_keys()) and "hunter" not in str(settings.deciding_keys())


def test_the_folder_of_masks_decides_latents_only_where_masks_are_files(stream_settings):
    def keys(kind, mask, name):
        return stream_settings(kind, mask={**mask, "uri": f"/masks/{name}"}).deciding_keys()

    paired = {"kind": "paired", "template": "{stem}.png"}
    assert keys("images", paired, "a") != keys("images", paired, "b")
    assert keys("webdataset", SEGMENTS, "a") == keys("webdataset", SEGMENTS, "b")


def test_the_share_of_objects_decides_nothing_without_masks_of_objects(stream_settings):
    assert (
        stream_settings("images", object_share=0.1).deciding_keys()
        == stream_settings("images", object_share=0.9).deciding_keys()
    )


def test_encoding_goes_on_after_a_file_that_ends_with_an_epoch(folder_of, tmp_path):
    source = write_source(tmp_path / "photos", "webdataset", shards=2, in_shard=10)
    folder_of(tmp_path / "whole", count=30, uri=source).encode()
    (tmp_path / "broken").mkdir()
    shutil.copy(tmp_path / "whole" / "000000.parquet", tmp_path / "broken")
    folder_of(tmp_path / "broken", count=30, uri=source).encode()
    for name in ("000001.parquet", "latents.json"):
        assert (tmp_path / "broken" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_latents_that_were_cut_are_left_out(folder_of, tmp_path, caplog):
    folder = folder_of(tmp_path, count=20)
    folder.encode()
    path = tmp_path / "000000.parquet"
    table = pq.read_table(path)
    pairs = table["pair"].to_pylist()
    pairs[3] = pairs[3][:-2]
    pq.write_table(table.set_column(1, "pair", [pairs]), path)
    stream = folder.stream(str(tmp_path), 0, 1)
    assert np.isfinite(stream.batch(0, 19).clean.numpy()).all()
    stream.batch(0, 1)
    assert "left out: BrokenLatents: 000000-0003" in caplog.text
