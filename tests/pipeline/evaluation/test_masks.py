import numpy as np
import pytest
from PIL import Image

from pipeline.config.job import MaskConfig
from pipeline.errors import ConfigError
from pipeline.evaluation.masks import MASKS, draw_mask, read_hole
from pipeline.evaluation.photos import find_masks


@pytest.mark.parametrize("kind", MASKS)
def test_a_hole_depends_on_kind_name_and_seed_alone(kind):
    first = draw_mask(kind, "a.jpg", 0, 120, 200)
    assert first.shape == (120, 200) and first.dtype == bool
    assert np.array_equal(first, draw_mask(kind, "a.jpg", 0, 120, 200))
    assert not np.array_equal(first, draw_mask(kind, "b.jpg", 0, 120, 200))
    assert not np.array_equal(first, draw_mask(kind, "a.jpg", 1, 120, 200))


@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("shape", [(64, 64), (64, 300), (300, 64)])
def test_holes_are_never_empty_nor_most_of_a_photo(kind, shape):
    for seed in range(5):
        assert 0 < draw_mask(kind, "a.jpg", seed, *shape).mean() <= 0.5


@pytest.mark.parametrize(
    "name", ["soft.png", "alpha.png", "deep.png", "palette.png", "deep.tif", "grey.bmp", "grey.gif"]
)
def test_masks_that_a_job_takes_are_holes_to_measure_in(tmp_path, name):
    hole = np.zeros((64, 96), bool)
    hole[16:32, 24:48] = True
    grey = Image.fromarray(hole.astype(np.uint8) * 255)
    deep = Image.fromarray(hole.astype(np.uint16) * 60000)
    white = Image.new("L", grey.size, 255)
    images = {
        "alpha.png": Image.merge("RGBA", (white, white, white, grey)),
        "deep.png": deep,
        "deep.tif": deep,
        "palette.png": Image.merge(
            "RGB", (grey.point(lambda value: value * 150 // 255), *[Image.new("L", grey.size)] * 2)
        ),
    }
    images.get(name, grey).save(tmp_path / name)
    assert find_masks(tmp_path) == [tmp_path / name]
    assert np.array_equal(read_hole(tmp_path / name, 64, 96, MaskConfig()), hole)
    assert np.array_equal(read_hole(tmp_path / name, 32, 48, MaskConfig()), hole[::2, ::2])


def test_mask_that_a_job_refuses_is_named(tmp_path):
    Image.new("L", (9, 9), 1).save(tmp_path / "a.png")
    with pytest.raises(ConfigError, match=r"a\.png cannot be used as a mask; .* largest value is 1 of 255; mask\.thr"):
        read_hole(tmp_path / "a.png", 9, 9, MaskConfig())
    with pytest.raises(ConfigError, match=r"a\.png has one value only"):
        read_hole(tmp_path / "a.png", 9, 9, MaskConfig(threshold=0.0))
    (tmp_path / "a.png").rename(tmp_path / "a.txt")
    with pytest.raises(ConfigError, match="--mask-files needs a folder with images"):
        find_masks(tmp_path)
