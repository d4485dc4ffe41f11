"""Packed photos and a tiny model to train."""

import numpy as np
import pytest
from PIL import Image

from moebius.train.photos import list_photos, pack_photos
from tests.conftest import textured


@pytest.fixture(scope="session")
def packed_photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for index in range(3):
        Image.fromarray(textured(96, 200, seed=index)).save(folder / f"{index}.png")
    target = folder / "photos.npz"
    pack_photos(list_photos(folder), 144, target)
    with np.load(target) as packed:
        assert packed["shapes"].tolist() == [[144, 216]] * 3  # 144 × 300, cut to 3:2
    return target
