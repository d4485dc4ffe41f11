"""A node with several GPUs, as Ray sees it; the model sleeps."""

import json
import subprocess
import sys

import pytest

from tests.conftest import ROOT, make_photos

JOB = """
import json, os, sys
from functools import partial
from pathlib import Path
import pyarrow.parquet as pq
import ray
from pipeline.bench.flow import SleepingActor
from pipeline.config.job import JobConfig, MaskConfig, ModelConfig, SinkConfig, SourceConfig
from pipeline.executor.ray_data import RayExecutor
from pipeline.run import run_job

class Worker(SleepingActor):
    def __init__(self, *arguments, **model):
        super().__init__(*arguments, **model)
        self.name = json.dumps([self.name, os.environ["CUDA_VISIBLE_DEVICES"]])

if __name__ == "__main__":
    folder = sys.argv[1]
    ray.init("local", num_cpus=8, num_gpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    config = JobConfig(
        source=SourceConfig(uri=f"{folder}/photos"),
        mask=MaskConfig(uri=f"{folder}/masks"),
        model=ModelConfig(batch_size=4),
        sink=SinkConfig(uri=f"{folder}/out"),
    )
    engine = partial(Worker, batch_s=1.0, logs=Path(folder, "logs"))
    run_job(config, "run", lambda rows, total: None, RayExecutor(engine))
    rows = pq.read_table(f"{folder}/out/manifest").to_pylist()
    starts = {}
    for row in rows:
        starts.setdefault(row["worker"], []).append(row["started_at"].timestamp())
    print(json.dumps({"rows": len(rows), "starts": starts}))
"""


@pytest.mark.slow
def test_every_gpu_has_its_worker_from_the_first_batch(tmp_path):
    make_photos(tmp_path, count=32)
    (tmp_path / "logs").mkdir()
    (tmp_path / "job.py").write_text(JOB)
    job = subprocess.run(
        [sys.executable, tmp_path / "job.py", tmp_path],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert job.returncode == 0, job.stderr
    found = json.loads(job.stdout.splitlines()[-1])
    assert found["rows"] == 32
    gpus = {json.loads(worker)[1] for worker in found["starts"]}
    assert gpus == {"0", "1"}
    first, second = (min(starts) for starts in found["starts"].values())
    assert abs(first - second) < 5
    assert min(len(starts) for starts in found["starts"].values()) >= 8
