import io

import numpy as np
import pytest
from PIL import Image

from pipeline.codecs.identification.kinds import HEIC_EXTENSIONS, IMAGE_EXTENSIONS
from pipeline.codecs.identification.signatures import image_kind
from pipeline.containers import CONTAINERS
from pipeline.storage.content_types import content_type

ENCODED = [container for container in CONTAINERS if container.modes]


@pytest.mark.parametrize("container", ENCODED, ids=lambda container: container.name)
def test_encoded_file_is_recognized_by_its_first_bytes_and_has_a_media_type(container):
    file = io.BytesIO()
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(file, container.name)
    extension, media_type = next(iter(container.media_types.items()))
    assert image_kind(file.getvalue()) == container.name
    if container.name == "PPM":
        extension, media_type = ".pgm", "image/x-portable-graymap"
    assert content_type(f"data/a{extension}", file.getvalue()[:16]) == media_type


def test_no_extension_and_no_brand_is_that_of_two_containers():
    for names in ([*container.media_types, *container.brands] for container in CONTAINERS):
        assert sum(not {*names}.isdisjoint((*other.media_types, *other.brands)) for other in CONTAINERS) == 1


def test_extensions_of_images_are_those_of_the_table_and_some_that_fail_with_a_reason():
    assert {".jp2", ".tga"} == IMAGE_EXTENSIONS - {name for container in CONTAINERS for name in container.media_types}
    assert {".heic", ".heif", ".hif"} == HEIC_EXTENSIONS
