"""Jobs on S3 while all of its answers are bad for a few seconds: nothing is lost, and no sample is blamed."""

import time
from dataclasses import replace

import pytest

from pipeline.manifest.log import Manifest
from pipeline.records import OK
from pipeline.storage.storage import Storage
from tests.drill.faulty_proxy import CUT, READ_ONLY, RESET, STORM, Weather, faulty_proxy
from tests.pipeline.flow_here import BeforeWork, run_here
from tests.pipeline.scenarios.test_object_storage import COUNT, bucket, check, job  # noqa: F401 - bucket is a fixture

WEATHER_S = 2.0


@pytest.mark.parametrize(
    ("weather", "fault", "sink"),
    [
        (Weather.STORM, STORM, "images"),
        (Weather.READ_ONLY, READ_ONLY, "webdataset"),
        (Weather.CUTTING, CUT, "images"),
        (Weather.RESETTING, RESET, "parquet"),
    ],
)
def test_bad_weather_while_workers_work_changes_nothing(here, bucket, s3_server, weather, fault, sink):  # noqa: F811
    fair_from = float("-inf")

    def begin() -> None:
        nonlocal fair_from
        fair_from = time.monotonic() + WEATHER_S

    def now() -> Weather:
        return weather if time.monotonic() < fair_from else Weather.FAIR

    with faulty_proxy(s3_server["endpoint_url"], 0.0, timeout_s=1.0, seed=0, weather=now) as (url, faults):
        config = job(bucket, "images", sink, {**s3_server, "endpoint_url": url})
        run_here(config, executor=BeforeWork(begin))
    assert faults[fault] > 0
    rows = Manifest(Storage(config.sink.uri, s3_server)).load().to_pylist()
    assert [row["status"] for row in rows] == [OK] * COUNT
    check(replace(config, storage=s3_server))
