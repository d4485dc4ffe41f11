import logging

import numpy as np
import pytest
import torch
from PIL import Image

from moebius.train.photos import PhotoCrops, PhotosError, held_out, main
from tests.conftest import textured


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


@pytest.fixture
def pack(tmp_path, monkeypatch):
    """A function that packs four photos with further options and returns the names that were packed."""
    (tmp_path / "in").mkdir()
    for index in range(4):
        Image.fromarray(textured(40, 48, seed=index)).save(tmp_path / "in" / f"{index}.png")

    def run(*options, target="photos.npz"):
        arguments = [
            "photos",
            str(tmp_path / "in"),
            str(tmp_path / target),
            "--side",
            "32",
            "--hold-out",
            "0",
            *options,
        ]
        monkeypatch.setattr("sys.argv", arguments)
        main()
        with np.load(tmp_path / target) as packed:
            return packed["names"].tolist()

    return run


def test_photos_that_cannot_be_read_are_left_out_with_a_warning(pack, tmp_path, caplog):
    photo = tmp_path / "in" / "0.png"
    photo.write_bytes(photo.read_bytes()[:500])
    (tmp_path / "in" / "1.png").write_text("no photo")
    Image.fromarray(np.full((40, 40), 40_000, np.uint16)).save(tmp_path / "in" / "2.png")
    with caplog.at_level(logging.WARNING):
        assert pack() == ["3.png"]
    *each, counted = (record.message for record in caplog.records)
    assert [message.partition(" is left out: ")[0] for message in each] == [
        str(tmp_path / "in" / f"{index}.png") for index in range(3)
    ]
    assert counted == f"3 of 4 photos are left out of {tmp_path / 'photos.npz'}"
    (tmp_path / "in" / "3.png").unlink()
    with pytest.raises(SystemExit):
        pack()


def test_photos_are_packed_upright(pack, tmp_path):
    photo, exif = Image.fromarray(textured(40, 48, seed=3)), Image.Exif()
    exif[0x0112] = 6  # stored lying on its side
    for index in range(4):
        (tmp_path / "in" / f"{index}.png").unlink()
    photo.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "in" / "turned.jpg", exif=exif, quality=95)
    photo.save(tmp_path / "in" / "upright.jpg", quality=95)
    assert pack() == ["turned.jpg", "upright.jpg"]
    turned, upright = PhotoCrops(tmp_path / "photos.npz", 32).photos
    assert turned.shape == upright.shape == (32, 38, 3)
    assert np.abs(turned.astype(int) - upright).mean() < 4


def test_transparent_photos_and_damaged_jpegs_are_left_out_and_opaque_ones_are_not(pack, tmp_path, caplog):
    folder, photo = tmp_path / "in", Image.fromarray(textured(40, 48))
    alpha = Image.new("L", photo.size, 255)
    photo.putalpha(alpha)
    photo.save(folder / "0.png")  # opaque all over
    alpha.paste(0, (0, 0, 5, 5))
    photo.putalpha(alpha)
    photo.save(folder / "1.png")
    photo.convert("RGB").quantize(8).save(folder / "2.png", transparency=0)
    photo.save(folder / "4.webp", lossless=True)
    photo.convert("RGB").save(folder / "5.jpg")
    data = (folder / "5.jpg").read_bytes()
    middle = len(data) * 2 // 3
    (folder / "6.jpg").write_bytes(data[:middle] + data[middle + 60 :])
    (folder / "7.jpg").write_bytes(data[:middle] + b"\xff\xd9")
    photo.convert("CMYK").save(folder / "8.jpg")
    photo.convert("L").save(folder / "9.jpg", progressive=True)
    assert Image.open(folder / "6.jpg").convert("RGB").size == (48, 40)  # Pillow says nothing
    with caplog.at_level(logging.WARNING):
        assert pack() == ["0.png", "3.png", "5.jpg", "8.jpg", "9.jpg"]
    text = "\n".join(record.message for record in caplog.records)
    assert text.count("it has transparent parts") == 3 and "6.jpg is left out: Corrupt JPEG data" in text
    assert text.endswith(f"5 of {len(list(folder.iterdir()))} photos are left out of {tmp_path / 'photos.npz'}")


def test_what_cannot_be_packed_is_told_in_one_line(pack, tmp_path, capsys):
    (tmp_path / "all.txt").write_text("0.png\n1.png\n2.png\n3.png\n")
    for options, target, message in (
        (["--leave-out", str(tmp_path / "all.txt")], "photos.npz", "holds 4 photos"),
        (["--leave-out", str(tmp_path / "none.txt")], "photos.npz", "No such file"),
        (["--hold-out", "-1"], "photos.npz", "--hold-out at least 0"),
        ([], "photos", "FILE must end in .npz"),
    ):
        with pytest.raises(SystemExit):
            pack(*options, target=target)
        assert message in capsys.readouterr().err
    assert not (tmp_path / "photos.npz").exists()


def test_a_file_whose_pixels_are_short_is_refused(packed_photos, tmp_path):
    with np.load(packed_photos) as packed:
        np.savez(tmp_path / "short.npz", pixels=packed["pixels"][:-5], shapes=packed["shapes"])
    with pytest.raises(PhotosError, match="holds no packed photos"):
        PhotoCrops(tmp_path / "short.npz", 64)


def test_what_is_held_out_does_not_depend_on_the_order():
    names = [f"{index}.jpg" for index in range(50)]
    aside = held_out(names, 7)
    assert len(aside) == 7 and held_out(names[::-1], 7) == aside
