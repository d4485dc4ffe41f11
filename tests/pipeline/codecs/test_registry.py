import io

import numpy as np
import pytest
from PIL import Image

from pipeline.codecs.codec import Codec
from pipeline.codecs.decode import decode
from pipeline.codecs.encode import encode
from pipeline.codecs.registry import codec_of
from pipeline.containers import CONTAINERS


def test_container_that_is_not_registered_is_handled_by_pillow():
    assert type(codec_of("GIF")) is Codec and codec_of(None).settings({}) == {}


@pytest.mark.parametrize("name", [container.name for container in CONTAINERS if container.modes])
def test_every_container_that_is_encoded_keeps_size_and_format(name):
    file = io.BytesIO()
    Image.fromarray(np.arange(90, dtype=np.uint8).reshape(9, 10)).save(file, name)
    photo = decode(file.getvalue(), 1000)
    data, container = encode(photo, photo.pixels, "source")
    again = decode(data, 1000)
    assert container == name == again.format and again.pixels.shape == photo.pixels.shape
