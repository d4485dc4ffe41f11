"""Keeps the model busy: gathers windows of many samples into full batches, cuts the next batch while one runs."""

import os
import queue
import threading
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np
import torch

from moebius import Inpainter
from moebius.inpainter import window_seed
from pipeline.errors import SampleError
from pipeline.sample_job import SampleJob, fail

DEVICE_LOST = 70  # exit code
LINGER_FRACTION = 0.1  # of a batch's time is spent at most on waiting for it to fill


@dataclass
class _Entry:
    """A sample in the loop: how many of its windows are handed out and how many are back."""

    job: SampleJob
    done: Future[SampleJob] = field(default_factory=Future)
    taken: int = 0
    returned: int = 0


_Batch = list[tuple[_Entry, int]]


class ModelLoop:
    """Runs the windows of all samples through one model, in batches of one shape.

    Windows are taken from the waiting samples in turn, so that a photo with thousands of holes delays nobody. One
    thread gathers and cuts, another runs the model: every thread that did would spin up OpenMP threads of its own.

    Args:
        inpainter: the model.
        threads: CPU threads for the model.
    """

    def __init__(self, inpainter: Inpainter, threads: int) -> None:
        self.inpainter = inpainter
        self.busy_s = 0.0
        self._threads = threads
        self._waiting: deque[_Entry] = deque()
        self._arrival = threading.Condition()
        self._batches: queue.Queue[tuple[_Batch, list[tuple[np.ndarray, np.ndarray]]]] = queue.Queue(maxsize=1)
        self._last_batch_s = 0.0
        for target in (self._gather, self._run):
            threading.Thread(target=target, daemon=True).start()

    def repaint(self, job: SampleJob) -> Future[SampleJob]:
        """Fill all windows of a sample; the future never fails, a fault stands in the job's record."""
        entry = _Entry(job)
        if not job.windows:
            entry.done.set_result(job)
            return entry.done
        with self._arrival:
            self._waiting.append(entry)
            self._arrival.notify()
        return entry.done

    def _gather(self) -> None:
        while True:
            batch = self._next_batch()
            cuts = [entry.job.cut(number, self.inpainter.window_px) for entry, number in batch]
            self._batches.put((batch, cuts))

    def _next_batch(self) -> _Batch:
        batch: _Batch = []
        with self._arrival:
            while len(batch) < self.inpainter.batch_size:
                if self._waiting:
                    batch.append(self._take())
                elif not batch:
                    self._arrival.wait()
                elif not self._arrival.wait(LINGER_FRACTION * self._last_batch_s):
                    break
        return batch

    def _take(self) -> tuple[_Entry, int]:
        entry = self._waiting.popleft()
        number = entry.taken
        entry.taken += 1
        if entry.taken < len(entry.job.windows):
            self._waiting.append(entry)
        return entry, number

    def _run(self) -> None:
        torch.set_num_threads(self._threads)
        while True:
            batch, cuts = self._batches.get()
            started = time.perf_counter()
            self._fill(batch, cuts)
            self._last_batch_s = time.perf_counter() - started
            self.busy_s += self._last_batch_s
            for entry, _ in batch:
                entry.returned += 1
                if entry.returned == len(entry.job.windows):
                    entry.done.set_result(entry.job)

    def _fill(self, batch: _Batch, cuts: list[tuple[np.ndarray, np.ndarray]]) -> None:
        """Run one batch; where it fails, halve it until the window at fault is alone."""
        live = [index for index, (entry, _) in enumerate(batch) if entry.job.record.error_stage is None]
        batch, cuts = [batch[index] for index in live], [cuts[index] for index in live]
        if not batch:
            return
        seeds = [window_seed(entry.job.record.seed or 0, number) for entry, number in batch]
        started = time.perf_counter()
        try:
            fills = self.inpainter.fill([pixels for pixels, _ in cuts], [hole for _, hole in cuts], seeds)
        except Exception as error:  # noqa: BLE001 - whatever one window does, the others go on
            if "CUDA error" in str(error):
                os._exit(DEVICE_LOST)  # the device is of no more use to this process; Ray starts another
            if is_out_of_memory(error) and self.inpainter.batch_size > 1:
                self.inpainter.batch_size = -(-self.inpainter.batch_size // 2)
                torch.cuda.empty_cache()
            elif len(batch) == 1:
                fail(batch[0][0].job.record, SampleError.wrap("inpaint", error))
                return
            middle = -(-len(batch) // 2)
            self._fill(batch[:middle], cuts[:middle])
            self._fill(batch[middle:], cuts[middle:])
            return
        share = (time.perf_counter() - started) / len(batch)
        for (entry, number), filled in zip(batch, fills, strict=True):
            entry.job.paste(number, filled)
            entry.job.record.inpaint_s = (entry.job.record.inpaint_s or 0.0) + share


def is_out_of_memory(error: Exception) -> bool:
    """Whether the host or the device ran out of memory; PyTorch's CPU allocator says so only in words."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error)
