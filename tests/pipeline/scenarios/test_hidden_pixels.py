"""What lies under a mask decides nothing about a sample: not its windows, its result, nor what is said about it."""

import io

import numpy as np
import pytest
from PIL import Image

from pipeline.codecs.decode import decode
from pipeline.codecs.encode import encode
from pipeline.codecs.photo import Photo
from pipeline.config.job import JobConfig, MaskConfig, WindowConfig
from pipeline.records import Record
from pipeline.sources.inputs import Inputs
from pipeline.worker.sample import finish, prepare
from tests.conftest import textured

SIZE = 64
MODES = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4, "CMYK": 4, "I;16": 1, "RGB;16": 3, "RGBA;16": 4}


def file_of(pixels, mode):
    """A lossless file; alpha is the last band."""
    container = "TIFF" if mode == "CMYK" else "PNG"
    return encode(Photo(pixels, mode, container, {"compression": "raw"} if mode == "CMYK" else {}), pixels, "source")[0]


def two_files(mode, mask):
    """Two photos whose colours differ under the mask alone."""
    bands = MODES[mode]
    pixels = np.concatenate([textured(*mask.shape), 255 - textured(*mask.shape)[..., :1]], axis=2)[..., :bands]
    if mode.endswith("16"):
        pixels = pixels.astype(np.uint16) * 257 - pixels % 7
    pixels = pixels[..., 0] if bands == 1 else pixels
    other, colours = pixels.copy(), bands - (mode.startswith(("LA", "RGBA")))
    where = (mask, slice(colours)) if bands > 1 else mask
    other[where] ^= 0x5A
    return file_of(pixels, mode), file_of(np.ascontiguousarray(other), mode)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("max_upscale", [1.0, 1.9])
def test_two_photos_that_differ_under_the_mask_have_one_result(mode, max_upscale):
    mask = np.zeros((150, 130), bool)
    mask[10:30, 20:50] = mask[60:140, 30:110] = mask[40:43, 5:125] = True
    buffer = io.BytesIO()
    Image.fromarray(mask).save(buffer, "PNG")
    config = JobConfig(mask=MaskConfig(kind="static"), window=WindowConfig(max_upscale=max_upscale))
    seen, results = [], []
    for data in two_files(mode, mask):
        record = Record("a.png", "failed")
        job = prepare(record, Inputs(data, buffer.getvalue()), config, SIZE)
        cuts = [job.cut(number, SIZE) for number in range(len(job.windows))]
        for number, (pixels, hole) in enumerate(cuts):
            pixels = np.where(hole[..., None], 0, pixels)
            seen.append((number, pixels.tobytes(), hole.tobytes()))
            job.paste(number, 255 - pixels)
        result = decode(finish(job, config), 10**6)
        said = (record.status, record.seam_score, record.suspicious, record.mask_fraction, record.window_count)
        results.append((said, result.mode, result.pixels.tobytes()))
    assert results[0] == results[1] and len(set(seen)) == len(seen) // 2
