import io
import json
import logging
import struct
import zlib
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from pipeline.codecs.photo import Photo
from pipeline.codecs.png.chunks import SIGNATURE, framed
from pipeline.config.job import MaskConfig
from pipeline.database import Database, in_batches
from pipeline.errors import ConfigError, SampleError
from pipeline.masks.base import MaskKind, open_masks
from pipeline.masks.decode import read_mask
from pipeline.sources.base import IMAGES, SampleRef
from pipeline.storage.storage import Storage

LIMIT = 1_000_000
ELSEWHERE = Storage("/elsewhere")


def png(array: np.ndarray, mode: str | None = None) -> bytes:
    buffer = io.BytesIO()
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(buffer, "PNG")
    return buffer.getvalue()


def read(data: bytes, shape=(4, 4), **options) -> np.ndarray:
    photo = Photo(np.zeros((*shape, 3), np.uint8), "RGB", "PNG")
    return read_mask(data, photo, MaskConfig(**{"max_fraction": 1.0, **options}), LIMIT)


GREY = np.array([[0, 1, 127, 128], [255, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 200]], np.uint8)
EXPECTED = GREY >= 128


@pytest.mark.parametrize(
    "data",
    [
        png(GREY),
        png(np.repeat(GREY[..., None], 3, axis=2)),
        png(GREY, "P"),
        png(GREY.astype(np.uint16) * 257),
        png(EXPECTED.astype(np.uint8) * 255, "1"),
        png(np.stack([GREY, GREY * 0, GREY * 0], axis=2)),
    ],
    ids=["grey", "rgb", "palette", "16 bit", "bilevel", "red on black"],
)
def test_mask_of_any_mode_means_the_same(data):
    assert np.array_equal(read(data), EXPECTED)


def test_transparent_pixels_of_a_mask_are_zero():
    rgba = np.full((4, 4, 4), 255, np.uint8)
    rgba[1:, :, 3] = 0
    assert np.array_equal(read(png(rgba)), np.arange(4)[:, None].repeat(4, 1) == 0)


def test_transparent_grey_of_a_mask_is_zero():
    buffer = io.BytesIO()
    Image.fromarray(GREY).save(buffer, "PNG", transparency=255)
    assert np.array_equal(read(buffer.getvalue()), EXPECTED & (GREY != 255))
    # Two bits a pixel: 0 1 2 3 in each row, of which 3 is transparent.
    header = struct.pack(">IIBBBBB", 4, 4, 2, 0, 0, 0, 0)
    rows = zlib.compress(b"\0\x1b" * 4)
    chunks = [(b"IHDR", header), (b"tRNS", b"\0\3"), (b"IDAT", rows), (b"IEND", b"")]
    data = SIGNATURE + b"".join(map(framed, chunks))
    assert np.array_equal(read(data), np.arange(4)[None].repeat(4, 0) == 2)


def test_portable_greymap_of_sixteen_bits_has_their_full_scale():
    values = (GREY.astype(">u2") * 257).tobytes()
    assert np.array_equal(read(b"P5 4 4 65535\n" + values), EXPECTED)


def test_threshold_zero_repaints_what_is_not_zero():
    assert np.array_equal(read(png(GREY), threshold=0.0), GREY > 0)


def test_mask_is_refined():
    assert np.array_equal(read(png(GREY), invert=True), ~EXPECTED)


def test_mask_of_another_size_names_both():
    with pytest.raises(SampleError, match="the mask is 4x4, the image is stored as 5x6") as caught:
        read(png(GREY), shape=(6, 5))
    assert (caught.value.stage, caught.value.kind) == ("mask", "MaskSizeMismatch")


def test_mask_that_covers_too_much_fails():
    with pytest.raises(SampleError, match=r"covers 100.0% of the image, mask.max_fraction=0.9"):
        read(png(np.full((4, 4), 255, np.uint8)), max_fraction=0.9)


def test_mask_that_covers_too_little_fails_but_an_empty_one_does_not():
    with pytest.raises(SampleError, match=r"covers 6.2500% of the image, mask.min_fraction=0.1") as caught:
        read(png(np.diag([255, 0, 0, 0]).astype(np.uint8)), min_fraction=0.1)
    assert caught.value.kind == "MaskTooSmall"
    assert not read(png(np.zeros((4, 4), np.uint8)), min_fraction=0.1).any()


def test_resized_mask_loses_no_stroke_and_grows_no_hole():
    stroke = np.zeros((64, 48), np.uint8)
    stroke[:, 31] = 255
    small = read(png(stroke), shape=(16, 12), resize=True)
    assert small[:, 7].all() and small.sum() == 16
    large = read(png(stroke), shape=(128, 96), resize=True)
    assert large[:, 62:64].all() and large.sum() == 256


@pytest.mark.parametrize("anchor", ["top-left", "top-right", "bottom-left", "bottom-right"])
@pytest.mark.parametrize("shape", [(4, 9), (9, 4), (2, 3), (9, 9)])
def test_anchored_mask_keeps_its_size_and_its_corner(anchor, shape):
    mark = np.arange(25, dtype=np.uint8).reshape(5, 5) * 10
    vertical, horizontal = anchor.split("-")
    turned = (
        slice(None, None, -1 if vertical == "bottom" else 1),
        slice(None, None, -1 if horizontal == "right" else 1),
    )
    expected = np.zeros(shape, bool)
    rows, columns = min(5, shape[0]), min(5, shape[1])
    expected[:rows, :columns] = (mark[turned] >= 128)[:rows, :columns]
    assert np.array_equal(read(png(mark), shape=shape, anchor=anchor), expected[turned])


def test_alpha_marks_what_is_transparent():
    pixels = np.full((4, 4, 4), 255, np.uint8)
    pixels[1, 2, 3], pixels[2, 2, 3] = 0, 200
    mask = read_mask(b"", Photo(pixels, "RGBA", "PNG"), MaskConfig(kind="alpha"), LIMIT)
    assert mask.sum() == 1 and mask[1, 2]
    with pytest.raises(SampleError, match="a RGB image has no transparency"):
        read(b"", kind="alpha")


def test_unreadable_mask_fails_in_the_mask_stage():
    with pytest.raises(SampleError) as caught:
        read(b"no image")
    assert caught.value.stage == "mask"


def folder(tmp_path, *names: str) -> Storage:
    for name in names:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return Storage(str(tmp_path))


def paired(masks: MaskKind, *keys: str) -> dict[str, str | None]:
    """The mask's key of each image that remains one."""
    with Database() as database:
        images = [(*SampleRef(key, 1, "v"), masks.name_of(key) if masks.name_of else None, *[None] * 4) for key in keys]
        database.create("images", IMAGES, in_batches(images, IMAGES))
        masks.pair(database)
        return dict(database.run("SELECT sample_id, mask_key FROM samples"))


def test_pairs_by_path_then_by_stem(tmp_path):
    storage = folder(tmp_path, "a.jpg", "a.png", "a.bmp", "deep/b.png", "deep/b.gif", "c.txt", "d.webp", "d.tif")
    assert paired(
        open_masks(MaskConfig(), storage, ELSEWHERE), "a.jpg", "a.webp", "deep/b.jpg", "b.jpg", "c.jpg", "d.jpg"
    ) == {
        "a.jpg": "a.jpg",
        "a.webp": "a.png",
        "deep/b.jpg": "deep/b.png",
        "b.jpg": None,
        "c.jpg": None,
        "d.jpg": "d.tif",
    }


def test_samples_of_shards_and_tables_pair_by_their_whole_name(tmp_path):
    names = ("a.tar/7", "a.parquet#1", "a.parquet#17", "cat.JPG", "v1.2")
    storage = folder(tmp_path, "a.png", "a.tar/7.png", "a.parquet#17.png", "cat.png", "v1.png")
    found = {"a.tar/7": "a.tar/7.png", "a.parquet#1": None, "a.parquet#17": "a.parquet#17.png", "v1.2": None}
    found["cat.JPG"] = "cat.png"
    assert paired(open_masks(MaskConfig(), storage, ELSEWHERE), *names) == found
    assert paired(open_masks(MaskConfig(template="{stem}.png"), storage, ELSEWHERE), *names) == {
        name: mask if "/" not in name else None for name, mask in found.items()
    }


@pytest.mark.parametrize(
    ("template", "image", "mask"),
    [
        ("{dir}{stem}_mask.png", "deep/b.jpg", "deep/b_mask.png"),
        ("{path}.png", "b.jpg", "b.jpg.png"),
        ("{stem}{ext}.png", "deep/b.jpg", "b.jpg.png"),
        ("{dir}{stem}_mask.png", "b.jpg", None),
    ],
)
def test_pairs_by_template(tmp_path, template, image, mask):
    storage = folder(tmp_path, "deep/b_mask.png", "b.jpg.png", "b.png")
    assert paired(open_masks(MaskConfig(template=template), storage, ELSEWHERE), image) == {image: mask}


def test_masks_side_by_side_with_images_are_no_images(tmp_path):
    names = ("a.jpg", "a_mask.png", "b.jpg", "b_mask.png", "lonely_mask.png")
    storage = folder(tmp_path, *names)
    masks = open_masks(MaskConfig(template="{dir}{stem}_mask.png"), storage, storage)
    assert paired(masks, *names) == {"a.jpg": "a_mask.png", "b.jpg": "b_mask.png", "lonely_mask.png": None}


def test_masks_among_images_need_a_name_of_their_own(tmp_path):
    storage = folder(tmp_path, "a.jpg", "b.jpg")
    with pytest.raises(ConfigError, match=r"set mask\.template"):
        open_masks(MaskConfig(), storage, storage)


def test_static_mask_is_one_file_for_all(tmp_path):
    storage = folder(tmp_path, "logo.png")
    masks = open_masks(MaskConfig(kind="static"), Storage(str(tmp_path / "logo.png")), storage)
    assert paired(masks, "any.jpg", "b.jpg") == {"any.jpg": "", "b.jpg": ""}
    assert masks.storage.uri("") == storage.uri("logo.png")
    with pytest.raises(ConfigError, match="one file"):
        open_masks(MaskConfig(kind="static"), storage, storage)


def annotated(tmp_path, names: tuple[str, ...], images: tuple[str, ...]) -> tuple[dict[str, str | None], Counter[str]]:
    """The number of boxes of each image, by the names that a file has."""
    file = tmp_path / "boxes.jsonl"
    file.write_text("".join(json.dumps({"sample_id": name, "boxes": []}) + "\n" for name in names))
    masks = open_masks(MaskConfig(kind="boxes"), Storage(str(file)), ELSEWHERE)
    with Database() as database:
        database.create(
            "images", IMAGES, in_batches([(*SampleRef(key, 1, "v"), *[None] * 5) for key in images], IMAGES)
        )
        masks.pair(database)
        found = dict(database.run("SELECT sample_id, mask_spec FROM samples"))
    return {key: spec and len(json.loads(spec)) for key, spec in found.items()}, masks.left_out


def test_annotations_are_matched_by_exact_names_with_the_slashes_of_any_system(tmp_path):
    names = ("a.jpg", ".\\deep\\b.jpg", "./c.jpg", "./d.jpg", "d.jpg", "d.jpg")
    found, left_out = annotated(tmp_path, names, ("a.jpg", "deep/b.jpg", "c.jpg", "./d.jpg", "d.jpg", "e.jpg"))
    assert found == {"a.jpg": 1, "deep/b.jpg": 1, "c.jpg": 1, "./d.jpg": 1, "d.jpg": 2, "e.jpg": None}
    assert not left_out


def test_names_that_match_no_image_are_counted_and_said_and_refused_if_all_do(tmp_path, caplog):
    names = ("a.jpg", "images/b.jpg", "/data/upload/1/x-c.jpg", "a.jpg")
    with caplog.at_level(logging.WARNING, "pipeline.masks.annotations"):
        found, left_out = annotated(tmp_path, names, ("a.jpg", "b.jpg", "c.jpg"))
    assert found == {"a.jpg": 2, "b.jpg": None, "c.jpg": None}
    assert left_out == {"names without an image": 2}
    assert "2 of 3 names match no image, such as '/data/upload/1/x-c.jpg'; they must be paths below" in caplog.text
    with pytest.raises(ConfigError, match="annotates none of the images; it names '/data"):
        annotated(tmp_path, names[1:3], ("a.jpg", "b.jpg", "c.jpg"))
    with pytest.raises(ConfigError, match="annotates none of the images; it names 'nothing'"):
        annotated(tmp_path, (), ("a.jpg",))


def test_png_counts_first_however_its_extension_is_written(tmp_path):
    storage = folder(tmp_path, "a.PNG", "a.GIF", "b.Tiff", "c.jpg", "c.PNG")
    masks = open_masks(MaskConfig(), storage, ELSEWHERE)
    assert paired(masks, "a.webp", "b.JPG", "c.webp") == {"a.webp": "a.PNG", "b.JPG": "b.Tiff", "c.webp": "c.PNG"}
