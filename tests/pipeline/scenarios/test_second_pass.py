"""A job with candidates, a second pass and recommended guidance, on a real Ray cluster."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from moebius import Inpainter
from pipeline.config.job import JobConfig, MaskConfig, ModelConfig, SinkConfig, SourceConfig, WindowConfig
from pipeline.records import OK
from tests.conftest import textured
from tests.pipeline.scenarios.test_run import pixels, run

pytestmark = pytest.mark.usefixtures("ray_cluster")


def test_job_chooses_and_refines_fills_as_python_does_and_goes_on_with_the_number_that_auto_stands_for(
    tmp_path, tiny_weights
):
    mask = np.zeros((130, 150), bool)
    mask[10:120, 20:140] = True
    for name, picture in (("photos", textured(*mask.shape)), ("masks", mask)):
        (tmp_path / name).mkdir()
        Image.fromarray(picture).save(tmp_path / name / "a.png")
    config = JobConfig(
        source=SourceConfig(uri=str(tmp_path / "photos")),
        mask=MaskConfig(uri=str(tmp_path / "masks")),
        model=ModelConfig(weights=str(tiny_weights), steps=2, guidance="auto", candidates=3),
        window=WindowConfig(refine=0.5),
        sink=SinkConfig(uri=str(tmp_path / "out")),
    )
    row = run(config, "first")["a.png"]
    assert row["status"] == OK, row["error_message"]
    inpainter = Inpainter.from_pretrained(str(tiny_weights), config.inpaint_settings)
    assert row["window_count"] == inpainter.cost(mask).windows > 5
    (expected,) = inpainter([textured(*mask.shape)], [mask], [row["seed"]])
    assert np.array_equal(pixels(row["output_uri"]), expected)
    same = replace(config, model=replace(config.model, guidance=2.0))
    assert run(same, "second")["a.png"]["run_id"] == "first"
