"""What a run says of itself."""

import json
import time
from pathlib import Path

from pipeline.run import run_job
from tests.pipeline.conftest import four_photos


def test_seconds_of_a_run_do_not_follow_a_wall_clock_that_is_set_back(here, tmp_path):
    config = four_photos(tmp_path)
    run_job(config, "run", lambda rows, total: here.setattr(time, "time", lambda: 0.0))
    timings = json.loads(Path(config.sink.uri, "runs", "run.json").read_text())["timings"]
    assert timings["started_at"] > 1e9 and 0 < timings["run_s"] < 600
