"""The worker of ``run.decode=tasks``: runs the model; decodes and encodes only samples with many windows."""

from typing import Any

import pyarrow as pa

from pipeline.faults.roster import RosterClient, Seat, worker_name
from pipeline.faults.watchdog import SIGN_OF_LIFE_S, Watchdog
from pipeline.sources.inputs import Inputs
from pipeline.worker.actor import InpaintActor, SampleTask
from pipeline.worker.decode_tasks import CutSample, record_of, travelling


class WindowActor:
    """Fills windows of samples that tasks have decoded.

    Args:
        worker: class that hosts the model.
        arguments: of that worker.
    """

    def __init__(self, worker: type[InpaintActor], *arguments: Any) -> None:
        roster: RosterClient = arguments[-1]
        roster.start(worker_name(), Seat.here())
        self.worker = worker(*arguments)
        self._alive = Watchdog(lambda: roster.live(worker_name(), self.worker.steps), SIGN_OF_LIFE_S)

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Add ``fills`` to a table of ``CUT_SCHEMA``; null for samples that need no further work."""
        rows = batch.to_pylist()
        tasks = [SampleTask(record_of(row)) for row in rows]
        cut: dict[int, CutSample] = {}
        for index, (task, row) in enumerate(zip(tasks, rows, strict=True)):
            task.record.worker = self.worker.name
            if task.record.error_stage is not None:
                task.complete()
            elif row["pixels"] is None:
                self.worker.begin(task, Inputs(row["image"], row["mask"]))
            else:
                cut[index] = CutSample(task.record, row)
                self.worker.loop.repaint(cut[index]).add_done_callback(task.complete)
        write_s = self.worker.sink.store(task.wait() for task in tasks)
        self.worker.meter.add("stage_seconds", write_s, stage="write")
        kept = [
            {"image": row["image"], "mask": row["mask"], "fills": cut[index].fills}
            if index in cut and cut[index].record.error_stage is None
            else {}
            for index, row in enumerate(rows)
        ]
        return travelling([task.record for task in tasks], kept)
