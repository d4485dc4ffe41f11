"""The job in this process: no cluster is started, and the engine that is given does the work."""

import ray

from tests.pipeline.conftest import four_photos
from tests.pipeline.flow_here import run_here


def test_job_runs_without_ray(here, tmp_path, monkeypatch):
    monkeypatch.setattr(ray, "init", None)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    assert run_here(four_photos(tmp_path)).samples["ok"] == 4
