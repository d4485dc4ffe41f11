import io

import numpy as np
import pytest
from PIL import Image

from pipeline.codecs.metadata_formats.exif import UPRIGHT
from pipeline.errors import SampleError
from pipeline.sources.inputs import Inputs
from pipeline.training.crops import ORIENTATION, draw_crop
from tests.conftest import textured
from tests.pipeline.training.conftest import png


def encoded(pixels, kind="PNG", orientation=1, **options):
    image, buffer = Image.fromarray(pixels), io.BytesIO()
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    image.save(buffer, kind, exif=exif.tobytes(), **options)
    return buffer.getvalue()


@pytest.fixture
def settings(stream_settings):
    return stream_settings("webdataset", mask={"kind": "member"}, object_share=1.0)


def test_a_crop_is_decided_by_seed_epoch_and_name(settings, stream_settings):
    inputs = Inputs(png(textured(100, 130)), b"")
    crop = draw_crop(inputs, "a/b", 3, settings)
    assert crop.image.shape == (64, 64, 3) and crop.image.dtype == np.uint8
    assert crop.hole.shape == (64, 64) and crop.hole.dtype == bool and 0 < crop.hole.mean() < 1
    again = draw_crop(inputs, "a/b", 3, settings)
    assert np.array_equal(crop.image, again.image) and np.array_equal(crop.hole, again.hole) and crop.seed == again.seed
    other_seed = stream_settings("webdataset", seed=1)
    for other in (
        draw_crop(inputs, "a/c", 3, settings),
        draw_crop(inputs, "a/b", 4, settings),
        draw_crop(inputs, "a/b", 3, other_seed),
    ):
        assert other.seed != crop.seed and not np.array_equal(other.image, crop.image)


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_a_photo_is_turned_upright(orientation, settings):
    pixels = textured(100, 130)
    back = {6: 8, 8: 6}.get(orientation, orientation)  # the other turns are their own inverse
    stored = np.asarray(Image.fromarray(pixels).transpose(UPRIGHT[back]))
    crops = [
        draw_crop(Inputs(data, b""), "a", 0, settings)
        for data in (encoded(pixels), encoded(stored, orientation=orientation))
    ]
    assert np.array_equal(crops[0].image, crops[1].image)


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("upright", [False, True])
def test_the_mask_of_an_object_follows_its_photo(orientation, upright, stream_settings):
    settings = stream_settings("webdataset", mask={"kind": "member", "upright": upright}, object_share=1.0)
    mask = np.zeros((300, 200), bool)
    mask[60:240, 50:150] = True  # of the upright photo
    photo = np.repeat(mask[..., None], 3, axis=2).astype(np.uint8) * 255
    turn = Image.Transpose.ROTATE_90  # stored so, it is shown turned back
    stored = photo if orientation == 1 else np.asarray(Image.fromarray(photo).transpose(turn))
    drawn = photo if upright else stored
    for number in range(8):
        inputs = Inputs(encoded(stored, orientation=orientation), png(drawn[..., 0].copy()))
        crop = draw_crop(inputs, str(number), 0, settings)
        if crop.is_object:
            assert ((crop.image[..., 0] > 127) != crop.hole).mean() < 0.03  # but for the edge, which is scaled
    assert crop.is_object


def test_a_crop_without_the_object_has_a_random_hole(settings):
    nothing = png(np.zeros((100, 130), np.uint8))
    crop = draw_crop(Inputs(png(textured(100, 130)), nothing), "a", 0, settings)
    assert not crop.is_object and crop.hole.any()


def test_a_large_jpeg_decoded_small_looks_like_the_same_crop_of_a_png(settings):
    smooth = np.asarray(Image.fromarray(textured(40, 50)).resize((1000, 800), Image.Resampling.BICUBIC))
    for number in range(4):
        crops = [
            draw_crop(Inputs(data, b""), str(number), 0, settings)
            for data in (encoded(smooth), encoded(smooth, "JPEG", quality=95))
        ]
        difference = np.abs(crops[0].image.astype(int) - crops[1].image)
        assert difference.mean() < 4 and np.array_equal(crops[0].hole, crops[1].hole)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (encoded(textured(200, 200), "JPEG")[:4000], "BrokenImage"),
        (png(textured(200, 200))[:4000], "TruncatedImage|BrokenImage"),
        (b"no image", "UnreadableImage"),
        (png(textured(63, 200)), "TooSmall"),
        (png(np.zeros((100, 100, 4), np.uint8)), "Transparent"),
        (png(np.zeros((100, 100), np.uint16)), "UnsupportedMode"),
    ],
    ids=["jpeg", "png", "text", "small", "transparent", "grey16"],
)
def test_a_photo_that_cannot_be_trained_on_says_why(data, kind, settings):
    with pytest.raises(SampleError) as caught:
        draw_crop(Inputs(data, b""), "a", 0, settings)
    assert caught.value.kind in kind.split("|")


def test_a_mask_of_another_size_is_refused_or_scaled(settings, stream_settings):
    half = np.zeros((50, 65), np.uint8)
    half[10:40, 10:50] = 255
    inputs = Inputs(png(textured(100, 130)), png(half))
    with pytest.raises(SampleError, match=r"a mask of 65x50 for a photo of 130x100 pixels; set mask\.resize=true"):
        draw_crop(inputs, "a", 0, settings)
    scaled = stream_settings("webdataset", mask={"kind": "member", "resize": True}, object_share=1.0)
    assert draw_crop(inputs, "a", 0, scaled).is_object
