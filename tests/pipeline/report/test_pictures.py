import base64
import io
import re
from dataclasses import replace

import numpy as np
from PIL import Image

from pipeline.config.job import MaskConfig
from pipeline.report.publish import make_report
from pipeline.storage.storage import Storage
from tests.conftest import make_photos, textured
from tests.pipeline.flow_here import run_here
from tests.pipeline.report.conftest import job


def test_reason_of_a_failure_is_said_once(tmp_path, tiny_weights, here):
    make_photos(tmp_path, count=1)
    Image.fromarray(np.full((80, 96), 255, np.uint8)).save(tmp_path / "masks" / "000.png")
    config = job(tmp_path, tiny_weights)
    run_here(config)
    html = make_report(Storage(config.sink.uri), {}).decode()
    (card,) = re.findall("<article.*?</article>", html, re.DOTALL)
    assert card.count("the mask covers 100.0% of the image") == 1 and 'class="before"' in card


def test_transparency_is_seen(tmp_path, tiny_weights, here):
    make_photos(tmp_path, count=1)
    photo = np.dstack([textured(80, 96), np.full((80, 96), 255, np.uint8)])
    photo[:40, :, 3] = 0
    Image.fromarray(photo).save(tmp_path / "photos" / "000.png")
    config = replace(job(tmp_path, tiny_weights), mask=MaskConfig(kind="alpha"))
    run_here(config)
    html = make_report(Storage(config.sink.uri), {}).decode()
    alpha = {}
    for name, data in re.findall(r'class="(before|after)" src="data:image/webp;base64,([^"]+)"', html):
        with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
            alpha[name] = np.asarray(picture.convert("RGBA"))[..., 3]
    assert not alpha["before"][:36].any() and alpha["before"][44:].all()
    assert alpha["after"].all()  # opaque where it was filled
