import numpy as np
import pytest
import torch

from moebius.train.photos import PhotoCrops, PhotosError, held_out, main


def test_crops_are_decided_by_their_generator(packed_photos):
    crops = PhotoCrops(packed_photos, 64)
    first, again, other = (crops.batch(4, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first.shape == (4, 3, 64, 64) and first.min() >= -1 and first.max() <= 1
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_photos_smaller_than_the_crops_are_refused(packed_photos):
    with pytest.raises(PhotosError, match="at least 145 px, got one of 144"):
        PhotoCrops(packed_photos, 145)


@pytest.mark.parametrize("content", [None, b"", b"PK", b"hello"])
def test_what_holds_no_packed_photos_is_refused_with_the_command_that_packs_them(content, tmp_path):
    if content is not None:
        (tmp_path / "photos.npz").write_bytes(content)
    with pytest.raises(PhotosError, match=r"python -m moebius\.train\.photos"):
        PhotoCrops(tmp_path / "photos.npz", 64)


def test_an_array_alone_is_no_file_of_packed_photos(tmp_path):
    np.save(tmp_path / "array.npy", np.zeros(3))
    with pytest.raises(PhotosError, match="holds no packed photos"):
        PhotoCrops(tmp_path / "array.npy", 64)


def test_a_folder_without_photos_is_not_packed(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["photos", str(tmp_path / "none"), str(tmp_path / "photos.npz")])
    with pytest.raises(SystemExit):
        main()
    assert "holds 0 photos" in capsys.readouterr().err


def test_what_is_held_out_does_not_depend_on_the_order():
    names = [f"{index}.jpg" for index in range(50)]
    aside = held_out(names, 7)
    assert len(aside) == 7 and held_out(names[::-1], 7) == aside
