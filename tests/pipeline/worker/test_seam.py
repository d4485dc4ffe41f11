import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.config.job import JobConfig, LimitsConfig, MaskConfig, ModelConfig, SinkConfig, SourceConfig
from pipeline.worker.seam import FLAT, MIN_BORDER, SATURATED, Border, look_at_border
from tests.conftest import make_photos, textured
from tests.pipeline.flow_here import PlainActor, run_here
from tests.seam_calibration import calibrate


def square() -> tuple[np.ndarray, np.ndarray]:
    mask = np.zeros((80, 80), bool)
    mask[20:50, 30:60] = True
    return textured(80, 80), mask


def test_score_tells_a_broken_fill_from_the_photo_itself():
    photo, mask = square()
    broken = photo.copy()
    broken[mask] = 255 - broken[mask] // 2
    assert abs(look_at_border(photo, mask).seam_score) < 3
    assert look_at_border(broken, mask).seam_score > 30


def test_no_border_has_no_score():
    photo = textured(10, 10)
    assert look_at_border(photo, np.ones((10, 10), bool)) == Border()
    assert look_at_border(photo, np.zeros((10, 10), bool)) == Border()
    assert look_at_border(photo[:1, :1], np.ones((1, 1), bool)) == Border()


@pytest.mark.parametrize(
    "colour, expected",
    [((90, 80, 70), FLAT), ((0, 1, 2), SATURATED), ((255, 254, 253), SATURATED), ((0, 0, 200), FLAT)],
)
def test_fill_of_one_colour_is_suspicious_where_the_photo_has_several(colour, expected):
    photo, mask = square()
    assert look_at_border(photo, mask).suspicious is None
    photo[mask] = colour
    assert look_at_border(photo, mask).suspicious == expected
    photo[:] = colour
    assert look_at_border(photo, mask).suspicious is None
    photo, mask = textured(80, 80), np.zeros((80, 80), bool)
    mask[40, 40 : 40 + MIN_BORDER // 4] = True
    photo[mask] = colour
    assert look_at_border(photo, mask).suspicious is None  # too small to say


def test_broken_fills_of_real_photos_score_higher_than_good_ones():
    scores = calibrate()
    assert sum(map(len, scores.broken.values())) >= 50
    assert scores.auc() > 0.985
    assert {kind: scores.auc(kind) for kind in scores.broken if scores.auc(kind) < 0.99}.keys() <= {"blurred"}
    assert scores.auc("blurred") > 0.9
    good = np.concatenate(list(scores.good.values()))
    assert np.quantile(np.abs(good), 0.95) < 2  # what the documentation says of good fills
    assert not [key for key in scores.suspicious if key[0] in scores.good and key[1]]
    assert scores.suspicious["black", SATURATED] == 36 and scores.suspicious["mean colour", FLAT] > 24


def test_suspicious_fills_are_marked_and_fail_where_the_limit_says_so(tmp_path, tiny_weights, here):
    def blacken(actor, job):
        for number in range(len(job.windows)):
            job.paste(number, np.zeros_like(job.cut(number, 64)[0]))
        return PlainActor.done(job)

    here.setattr(PlainActor, "repaint", blacken)
    make_photos(tmp_path, count=2)
    for limit, status in (("keep", "ok"), ("fail", "failed")):
        config = JobConfig(
            source=SourceConfig(uri=str(tmp_path / "photos")),
            mask=MaskConfig(uri=str(tmp_path / "masks")),
            model=ModelConfig(weights=str(tiny_weights)),
            sink=SinkConfig(uri=str(tmp_path / limit)),
            limits=LimitsConfig(suspicious=limit),
        )
        run_here(config, limit)
        for row in pq.read_table(tmp_path / limit / "manifest").to_pylist():
            assert (row["status"], row["suspicious"]) == (status, SATURATED)
            assert row["error_type"] == ("SuspiciousFill" if status == "failed" else None)
            assert (row["output_uri"] is None) == (status == "failed")
