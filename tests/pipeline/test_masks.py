import io

import numpy as np
import pytest
from PIL import Image

from pipeline.catalog import Catalog, in_batches
from pipeline.config import MaskConfig
from pipeline.errors import ConfigError, SampleError
from pipeline.masks import IMAGES, PairedMasks, StaticMask, decode_mask
from pipeline.storage import Storage

LIMIT = 1_000_000
ELSEWHERE = Storage("/elsewhere")


def png(array: np.ndarray, mode: str | None = None) -> bytes:
    buffer = io.BytesIO()
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(buffer, "PNG")
    return buffer.getvalue()


def read(data: bytes, shape=(4, 4), **options) -> np.ndarray:
    return decode_mask(data, shape, MaskConfig(max_fraction=1.0, **options), LIMIT)


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


def test_threshold_zero_repaints_what_is_not_zero():
    assert np.array_equal(read(png(GREY), threshold=0.0), GREY > 0)


def test_invert_and_dilate():
    assert np.array_equal(read(png(GREY), invert=True), ~EXPECTED)
    point = np.zeros((7, 7), np.uint8)
    point[3, 3] = 255
    dilated = read(png(point), shape=(7, 7), dilate_px=2)
    assert dilated.sum() == 25 and dilated[1:6, 1:6].all()


def test_mask_of_another_size_names_both():
    with pytest.raises(SampleError, match="the mask is 4x4, the image is stored as 5x6") as caught:
        read(png(GREY), shape=(6, 5))
    assert (caught.value.stage, caught.value.kind) == ("mask", "MaskSizeMismatch")


def test_mask_that_covers_too_much_fails():
    with pytest.raises(SampleError, match=r"covers 100.0% of the image, mask.max_fraction=0.9"):
        decode_mask(png(np.full((4, 4), 255, np.uint8)), (4, 4), MaskConfig(), LIMIT)


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


def paired(masks: PairedMasks | StaticMask, *keys: str) -> dict[str, str | None]:
    """The mask's key of each image that remains one."""
    with Catalog() as catalog:
        images = [(key, 1, "v", masks.wanted(key)) for key in keys]
        catalog.create("images", IMAGES, in_batches(images, IMAGES))
        masks.pair(catalog)
        return dict(catalog.run("SELECT sample_id, mask_key FROM samples"))


def test_pairs_by_path_then_by_stem(tmp_path):
    storage = folder(tmp_path, "a.jpg", "a.png", "a.bmp", "deep/b.png", "deep/b.gif", "c.txt", "d.webp", "d.tif")
    assert paired(
        PairedMasks(MaskConfig(), storage, ELSEWHERE), "a.jpg", "a.webp", "deep/b.jpg", "b.jpg", "c.jpg", "d.jpg"
    ) == {
        "a.jpg": "a.jpg",
        "a.webp": "a.png",
        "deep/b.jpg": "deep/b.png",
        "b.jpg": None,
        "c.jpg": None,
        "d.jpg": "d.tif",
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
    assert paired(PairedMasks(MaskConfig(template=template), storage, ELSEWHERE), image) == {image: mask}


def test_masks_side_by_side_with_images_are_no_images(tmp_path):
    names = ("a.jpg", "a_mask.png", "b.jpg", "b_mask.png", "lonely_mask.png")
    storage = folder(tmp_path, *names)
    masks = PairedMasks(MaskConfig(template="{dir}{stem}_mask.png"), storage, storage)
    assert paired(masks, *names) == {"a.jpg": "a_mask.png", "b.jpg": "b_mask.png", "lonely_mask.png": None}


def test_masks_among_images_need_a_name_of_their_own(tmp_path):
    storage = folder(tmp_path, "a.jpg", "b.jpg")
    with pytest.raises(ConfigError, match=r"set mask\.template"):
        PairedMasks(MaskConfig(), storage, storage)


def test_static_mask_is_one_file_for_all(tmp_path):
    storage = folder(tmp_path, "logo.png")
    masks = StaticMask(MaskConfig(kind="static"), Storage(str(tmp_path / "logo.png")), storage)
    assert paired(masks, "any.jpg", "b.jpg") == {"any.jpg": "", "b.jpg": ""}
    assert masks.storage.uri("") == storage.uri("logo.png")
    with pytest.raises(ConfigError, match="one file"):
        StaticMask(MaskConfig(kind="static"), storage, storage)
