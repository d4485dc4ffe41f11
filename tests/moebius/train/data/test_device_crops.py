import numpy as np
import pytest
import torch
from PIL import Image

from moebius.train.data.device_crops import DeviceCrops, triangle_weights
from moebius.train.photos import PhotosError
from tests.conftest import textured

CPU = torch.device("cpu")


def test_crops_are_resized_as_pillow_resizes_them():
    pixels = textured(100, 100, seed=1)
    weights = triangle_weights(torch.tensor([100]), 64)[0, :, :100]
    resized = torch.einsum("im,mnc,jn->ijc", weights, torch.from_numpy(pixels.copy()).float(), weights)
    expected = np.asarray(Image.fromarray(pixels).resize((64, 64), Image.Resampling.BILINEAR))
    assert np.abs(resized.numpy() - expected).max() <= 1


def test_crops_of_the_smallest_photo_are_that_photo_or_its_mirror_image():
    photo = textured(64, 64, seed=2)
    crops = DeviceCrops([photo], 64, CPU).draw(8, torch.Generator().manual_seed(0))
    pixels = ((crops + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    mirrored = [np.array_equal(crop, photo[:, ::-1]) for crop in pixels]
    plain = [np.array_equal(crop, photo) for crop in pixels]
    assert all(a != b for a, b in zip(mirrored, plain, strict=True)) and any(mirrored) and any(plain)


def test_crops_cover_photos_of_every_size_at_every_scale():
    rows = np.linspace(0, 255, 400).round().astype(np.uint8)
    tall = np.repeat(np.repeat(rows[:, None, None], 300, axis=1), 3, axis=2)
    grey = np.full((70, 90, 3), 51, np.uint8)
    crops = DeviceCrops([tall, grey], 64, CPU).draw(400, torch.Generator().manual_seed(0))
    spans = (crops[:, 0, -1, 0] - crops[:, 0, 0, 0]).numpy() * 127.5  # of grey levels, 0.64 per row of the tall one
    sloped = spans > 1
    assert 150 < sloped.sum() < 250
    assert np.abs(((crops + 1) * 127.5)[torch.from_numpy(~sloped)] - 51).max() < 0.01
    sides = spans[sloped] / 0.639 * 64 / 63
    assert sides.min() < 75 and sides.max() > 280 and np.histogram(sides, bins=4, range=(64, 300))[0].min() > 20


def test_photos_smaller_than_crops_are_refused():
    with pytest.raises(PhotosError, match="at least 64 px, got 60"):
        DeviceCrops([textured(60, 200, seed=0)], 64, CPU)
    with pytest.raises(PhotosError, match="got 0 px"):
        DeviceCrops([], 64, CPU)
