import numpy as np
import pytest
from PIL import Image

from moebius.train.data import photo_archive
from moebius.train.data.photo_archive import read_archive, write_archive
from moebius.train.photos import PhotosError, list_photos
from tests.conftest import textured


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(3):
        Image.fromarray(textured(96, 200, seed=index)).save(folder / f"{index}.png")
    return folder


def test_an_archive_returns_the_scaled_photos_in_the_order_of_their_names(folder, tmp_path):
    (folder / "broken.jpg").write_bytes(b"no photo")
    assert write_archive(list_photos(folder), 64, 95, tmp_path / "photos.zip") == 3
    photos = read_archive(tmp_path / "photos.zip", threads=2)
    assert [photo.shape for photo in photos] == [(64, 96, 3)] * 3
    for index, photo in enumerate(photos):
        truth = np.asarray(Image.fromarray(textured(96, 200, seed=index)).resize((133, 64), Image.Resampling.LANCZOS))
        assert np.abs(photo.astype(int) - truth[:, 18:114]).mean() < 8


def test_the_command_leaves_out_the_photos_that_a_file_names(folder, tmp_path, monkeypatch):
    names, target = tmp_path / "names.txt", tmp_path / "photos.zip"
    names.write_text("1.png\n")
    arguments = [str(folder), str(target), "--side", "64", "--leave-out", str(names)]
    monkeypatch.setattr("sys.argv", ["photo_archive", *arguments])
    photo_archive.main()
    assert len(read_archive(target, threads=1)) == 2


def test_what_holds_no_photos_is_refused(folder, tmp_path):
    (folder / "broken.jpg").write_bytes(b"no photo")
    with pytest.raises(PhotosError, match="none of 1 photos"):
        write_archive([folder / "broken.jpg"], 64, 90, tmp_path / "photos.zip")
    with pytest.raises(PhotosError, match="no readable archive"):
        read_archive(folder / "broken.jpg", threads=1)
