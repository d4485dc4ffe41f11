"""``python -m tests.pipeline.sleeper CONFIG COUNT``: ``moebius inpaint`` that stops itself after so many samples.

The job without Ray, with its lease, and with a worker that stores only while its run holds the sink; what it fills is
not what other workers of the tests fill. SIGCONT wakes it.
"""

import os
import signal
import sys
import time

import numpy as np
import pytest

import jobs.inpaint
from pipeline.executor.local import LocalExecutor
from pipeline.sinks.open_sink import open_sink
from tests.pipeline.flow_here import PlainActor, quicken

STORED_S = 0.5  # until results under way are stored


class Sleeper(PlainActor):
    """Fills holes with black."""

    waiting = int(sys.argv[2])

    def __init__(self, config, weights_fingerprint, run_id, pool, roster):
        super().__init__(config, weights_fingerprint, run_id, pool, roster)
        self.sink = open_sink(config, run_id)

    def repaint(self, job):
        Sleeper.waiting -= 1
        if Sleeper.waiting == 0:
            time.sleep(STORED_S)
            os.kill(os.getpid(), signal.SIGSTOP)
        for number in range(len(job.windows)):
            job.paste(number, np.zeros_like(job.cut(number, 64)[0]))
        return self.done(job)


if __name__ == "__main__":
    with pytest.MonkeyPatch.context() as patch:
        quicken(patch, with_lease=True)
        sys.exit(jobs.inpaint.main(sys.argv[1:2], LocalExecutor(Sleeper)))
