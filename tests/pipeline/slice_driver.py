"""``python -m tests.pipeline.slice_driver RUN_ID CONFIG [AWAITED]``: the driver of a job in a process of its own.

The job without Ray, with its lease and with a worker that stores only while its run holds the sink. CONFIG is JSON.
With AWAITED, a file, it does not finish its third sample before the file is there.
"""

import json
import os
import sys
import time

import pytest

from pipeline.config.job import JobConfig, MaskConfig, ModelConfig, RunConfig, SinkConfig, SourceConfig
from pipeline.executor.local import LocalExecutor
from pipeline.sinks.open_sink import open_sink
from tests.pipeline.flow_here import PlainActor, quicken, run_here

SECTIONS = {"source": SourceConfig, "mask": MaskConfig, "sink": SinkConfig, "run": RunConfig, "model": ModelConfig}


class Driver(PlainActor):
    """Fills holes without a model, and stores as workers on Ray do."""

    awaited = ""

    def __init__(self, config, weights_fingerprint, run_id, pool, roster):
        super().__init__(config, weights_fingerprint, run_id, pool, roster)
        self.sink = open_sink(config, run_id)
        self.count = 0

    def repaint(self, job):
        self.count += 1
        while self.count > 2 and self.awaited and not os.path.exists(self.awaited):
            time.sleep(0.05)
        return super().repaint(job)


if __name__ == "__main__":
    run_id, text, *awaited = sys.argv[1:]
    Driver.awaited = "".join(awaited)
    given = json.loads(text)
    sections = {name: section(**given.get(name, {})) for name, section in SECTIONS.items()}
    with pytest.MonkeyPatch.context() as patch:
        quicken(patch, with_lease=True)
        summary = run_here(JobConfig(**sections, storage=given["storage"]), run_id, executor=LocalExecutor(Driver))
    sys.stdout.write(f"{summary.samples['found']} {summary.samples['done_now']}\n")
