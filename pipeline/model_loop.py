"""Keeps the model busy: gathers windows of many samples into full batches, cuts the next batch while one runs."""

import logging
import os
import queue
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch

from moebius import Inpainter
from moebius.inpainter import window_seed
from pipeline.errors import SampleError
from pipeline.records import Record
from pipeline.sample_job import fail

DEVICE_LOST, THREAD_LOST = 70, 71  # exit codes
_DEVICE_FAULT = re.compile(r"CUDA error|Triton Error \[CUDA\]")
LINGER_FRACTION = 0.1  # of a batch's time is spent at most on waiting for it to fill


logger = logging.getLogger(__name__)


class Job(Protocol):
    """A sample with windows that the model is to fill: as a whole, or its windows alone."""

    record: Record

    @property
    def windows(self) -> Sequence[object]:
        """One for each call of :meth:`cut` and of :meth:`paste`."""

    def cut(self, number: int, size_px: int) -> tuple[np.ndarray, np.ndarray]:
        """(size, size, 3) uint8 and (size, size) bool that the model sees."""

    def paste(self, number: int, filled: np.ndarray) -> None:
        """Take one fill, (size, size, 3) uint8."""


@dataclass
class _Entry:
    """A sample in the loop: how many of its windows are handed out and how many are back."""

    job: Job
    done: Future[Job] = field(default_factory=Future)
    taken: int = 0
    returned: int = 0


_Cut = tuple[np.ndarray, np.ndarray]  # pixels and mask of one window
_Batch = list[tuple[_Entry, int]]
_Cuts = list[_Cut | None]


class ModelLoop:
    """Runs the windows of all samples through one model, in batches of one shape.

    Windows are taken from the waiting samples in turn, so that a photo with thousands of holes delays nobody. One
    thread gathers and cuts. One runs the model on a GPU; on a CPU there are as many as cores, each computing with one
    core, since PyTorch's results depend in their last bits on how many share an operation.

    Args:
        inpainter: the model.
        threads: CPU cores for the model.
        on_batch: told of each batch how many windows it had and how many seconds it took.
    """

    def __init__(
        self, inpainter: Inpainter, threads: int, on_batch: Callable[[int, float], None] = lambda *_: None
    ) -> None:
        self.inpainter, self.on_batch = inpainter, on_batch
        self._waiting: deque[_Entry] = deque()
        self._windows_waiting = 0
        self._arrival = threading.Condition()
        self._returns = threading.Lock()
        self._batches: queue.Queue[tuple[_Batch, _Cuts]] = queue.Queue(maxsize=1)
        self._last_batch_s = 0.0
        self.runners = threads if inpainter.device.type == "cpu" else 1  # batches in the model at the same time
        for work in (self._gather, *[self._run] * self.runners):
            threading.Thread(target=_or_exit, args=(work,), daemon=True).start()

    @property
    def windows_waiting(self) -> int:
        """Windows of the samples that are here which no batch has yet."""
        return self._windows_waiting

    def repaint(self, job: Job) -> Future[Job]:
        """Fill all windows of a sample; the future never fails, a fault stands in the job's record."""
        entry = _Entry(job)
        if not job.windows:
            entry.done.set_result(job)
            return entry.done
        with self._arrival:
            self._waiting.append(entry)
            self._windows_waiting += len(job.windows)
            if len(self._waiting) == 1 or self._windows_waiting >= self.inpainter.batch_size:
                self._arrival.notify()  # not each time: waking a thread costs as much as cutting a window
        return entry.done

    def _gather(self) -> None:
        while True:
            batch = self._next_batch()
            self._batches.put((batch, [self._cut(entry, number) for entry, number in batch]))

    def _next_batch(self) -> _Batch:
        size = self.inpainter.batch_size
        with self._arrival:
            self._arrival.wait_for(lambda: self._waiting)
            self._arrival.wait_for(lambda: self._windows_waiting >= size, LINGER_FRACTION * self._last_batch_s)
            return [self._take() for _ in range(min(size, self._windows_waiting))]

    def _take(self) -> tuple[_Entry, int]:
        entry = self._waiting.popleft()
        number = entry.taken
        entry.taken += 1
        self._windows_waiting -= 1
        if entry.taken < len(entry.job.windows):
            self._waiting.append(entry)
        return entry, number

    def _cut(self, entry: _Entry, number: int) -> _Cut | None:
        try:
            return entry.job.cut(number, self.inpainter.window_px)
        except Exception as error:  # noqa: BLE001 - whatever one window does, the others go on
            fail(entry.job.record, SampleError.wrap("inpaint", error))
            return None

    def _run(self) -> None:
        if self.inpainter.device.type == "cpu":
            torch.set_num_threads(1)
        while True:
            batch, cuts = self._batches.get()
            started = time.perf_counter()
            self._fill(batch, cuts)
            self._last_batch_s = time.perf_counter() - started
            self.on_batch(len(batch), self._last_batch_s)
            for entry, _ in batch:
                with self._returns:
                    entry.returned += 1
                    is_done = entry.returned == len(entry.job.windows)
                if is_done:
                    entry.done.set_result(entry.job)

    def _fill(self, batch: _Batch, cuts: _Cuts) -> None:
        """Run one batch; where it fails, halve it until the window at fault is alone."""
        live = [
            (entry, number, cut)
            for (entry, number), cut in zip(batch, cuts, strict=True)
            if cut is not None and entry.job.record.error_stage is None
        ]
        if not live:
            return
        started = time.perf_counter()
        try:
            fills = self.inpainter.fill(
                [cut[0] for _, _, cut in live],
                [cut[1] for _, _, cut in live],
                [window_seed(entry.job.record.seed or 0, number) for entry, number, _ in live],
            )
            share = (time.perf_counter() - started) / len(live)
            for (entry, number, _), filled in zip(live, fills, strict=True):
                entry.job.paste(number, filled)
                with self._returns:
                    entry.job.record.inpaint_s = (entry.job.record.inpaint_s or 0.0) + share
            return
        except Exception as error:  # noqa: BLE001 - as in _cut
            if _DEVICE_FAULT.search(str(error)):
                os._exit(DEVICE_LOST)  # the device is of no more use to this process; Ray starts another
            fault, lacks_memory = SampleError.wrap("inpaint", error).with_traceback(None), is_out_of_memory(error)
        self._split(live, fault, lacks_memory)  # out here, since a traceback holds all that the model had allocated

    def _split(self, live: list[tuple[_Entry, int, _Cut]], fault: SampleError, lacks_memory: bool) -> None:
        if lacks_memory and self.inpainter.batch_size > 1:
            self.inpainter.batch_size = -(-self.inpainter.batch_size // 2)
            torch.cuda.empty_cache()
        elif len(live) == 1:
            fail(live[0][0].job.record, fault)
            return
        middle = -(-len(live) // 2)
        for half in (live[:middle], live[middle:]):
            self._fill([(entry, number) for entry, number, _ in half], [cut for _, _, cut in half])


def _or_exit(work: Callable[[], None]) -> None:
    """Run a thread that must not end; if it does, end the worker, since all that wait for it would wait for ever."""
    try:
        work()
    finally:
        logger.exception("a thread of the model loop ended")
        os._exit(THREAD_LOST)


def is_out_of_memory(error: Exception) -> bool:
    """Whether the host or the device ran out of memory; PyTorch's CPU allocator says so only in words."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error)
