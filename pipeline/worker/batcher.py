"""Batches windows of many samples; cuts the next batch while one runs and the previous one is pasted."""

import logging
import os
import queue
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from moebius import Inpainter
from moebius.windows.compositing import keep_colours, match_colours
from moebius.windows.seeds import window_seed
from pipeline.faults.judge import fail
from pipeline.records import Record
from pipeline.worker.window_queue import CONFIGURED, Entry, Job, WindowQueue

DEVICE_LOST, THREAD_LOST = 70, 71  # exit codes
_DEVICE_FAULT = re.compile(r"CUDA error|Triton Error \[CUDA\]")
_NO_MEMORY = re.compile(r"can't allocate memory|out of memory|_ALLOC_FAILED")
LINGER_FRACTION = 0.1  # of a batch's time is spent at most on waiting for it to fill

logger = logging.getLogger(__name__)


@dataclass
class _Window:
    """One window in flight; ``None`` marks a failure.

    Args:
        cut: pixels and mask that the model sees.
        generated: output of the model.
    """

    entry: Entry
    number: int
    cut: tuple[np.ndarray, np.ndarray] | None = None
    generated: np.ndarray | None = None


_Batch = list[_Window]


class ModelLoop:
    """Runs the windows of all samples through one model, in batches of one shape.

    One thread gathers and cuts, one matches colours and pastes. On a GPU one thread runs the model; on a CPU there is
    one per core, each computing with one core, since PyTorch's results depend in their last bits on the number of
    threads of an operation.

    Args:
        inpainter: the model.
        threads: CPU cores for the model.
        on_batch: called after each batch with its number of windows and the seconds of the model.
        watch: creates the context manager of each model call from the rows of its windows.
    """

    def __init__(
        self,
        inpainter: Inpainter,
        threads: int,
        on_batch: Callable[[int, float], None] = lambda *_: None,
        watch: Callable[[Sequence[Record]], AbstractContextManager[None]] = lambda _: nullcontext(),
    ) -> None:
        self.inpainter, self.on_batch, self.watch = inpainter, on_batch, watch
        self._waiting = WindowQueue()
        self._arrival = threading.Condition()
        self._last_batch_s = 0.0
        self._refusal: Exception | None = None
        self.runners = threads if inpainter.device.type == "cpu" else 1  # batches in the model at the same time
        self._cut: queue.Queue[_Batch] = queue.Queue(maxsize=1)
        self._generated: queue.Queue[tuple[_Batch, float]] = queue.Queue(maxsize=self.runners)
        for work in (self._gather, *[self._run] * self.runners, self._finish):
            threading.Thread(target=_or_exit, args=(work,), daemon=True).start()

    @property
    def windows_waiting(self) -> int:
        """Number of queued windows."""
        return len(self._waiting)

    def repaint(self, job: Job) -> Future[Job]:
        """Fill the windows of all rounds of a sample; the future never fails, a fault is in the job's record."""
        if not job.count:
            done: Future[Job] = Future()
            done.set_result(job)
            return done
        with self._arrival:
            was_empty = not self._waiting
            entry = self._waiting.put(job)
            if was_empty or len(self._waiting) >= self.inpainter.batch_size:
                self._arrival.notify()  # not each time: waking a thread costs as much as cutting a window
        return entry.done

    def refuse(self, reason: Exception) -> None:
        """Give no more batches to the model: samples that still have windows to fill fail with this reason."""
        self._refusal = reason

    def _gather(self) -> None:
        while True:
            batch = self._next_batch()
            for window in batch:
                with _failing(window.entry.job.record):
                    window.cut = window.entry.job.cut(window.number, self.inpainter.window_px)
            self._cut.put(batch)

    def _next_batch(self) -> _Batch:
        size = self.inpainter.batch_size
        with self._arrival:
            self._arrival.wait_for(lambda: self._waiting)
            self._arrival.wait_for(lambda: len(self._waiting) >= size, LINGER_FRACTION * self._last_batch_s)
            return [_Window(entry, number) for entry, number in self._waiting.take(size)]

    def _run(self) -> None:
        if self.inpainter.device.type == "cpu":
            torch.set_num_threads(1)
        while True:
            batch = self._cut.get()
            started = time.perf_counter()
            if self._refusal:
                for window in batch:
                    fail(window.entry.job.record, "inpaint", self._refusal)
            wanted = [window for window in batch if window.cut and window.entry.job.record.error_stage is None]
            with self.watch([window.entry.job.record for window in wanted]):
                self._generate(wanted)
            self._last_batch_s = spent_s = time.perf_counter() - started
            self.on_batch(len(batch), spent_s)
            self._generated.put((batch, spent_s / len(batch)))

    def _generate(self, batch: _Batch) -> None:
        """Run one batch; if it fails, bisect it until the failing window is isolated."""
        if not batch:
            return
        cuts = [window.cut for window in batch if window.cut]
        seeds = [window_seed(window.entry.job.seed, window.entry.job.name(window.number)) for window in batch]
        kind, generate = batch[0].entry.job.kind, self.inpainter.generate  # one kind, see WindowQueue
        if kind != CONFIGURED:
            generate = partial(generate, strength=kind[0], start=kind[1])
        try:
            pictures = generate([pixels for pixels, _ in cuts], [mask for _, mask in cuts], seeds)
            for window, picture in zip(batch, pictures, strict=True):
                window.generated = picture
            return
        except Exception as error:  # noqa: BLE001 - one window must not affect the others
            fault, lacks_memory = error.with_traceback(None), is_out_of_memory(error)
            if not lacks_memory and _DEVICE_FAULT.search(str(error)):
                os._exit(DEVICE_LOST)  # the device is of no more use to this process; Ray starts another
        self._split(batch, fault, lacks_memory)  # out here, since a traceback holds all that the model had allocated

    def _split(self, batch: _Batch, fault: Exception, lacks_memory: bool) -> None:
        if lacks_memory and self.inpainter.batch_size > 1:
            self.inpainter.batch_size = -(-self.inpainter.batch_size // 2)
            torch.cuda.empty_cache()
        elif len(batch) == 1:
            fail(batch[0].entry.job.record, "inpaint", fault)
            return
        middle = -(-len(batch) // 2)
        for half in (batch[:middle], batch[middle:]):
            self._generate(half)

    def _finish(self) -> None:
        while True:
            batch, share_s = self._generated.get()
            for window in batch:
                entry, job = window.entry, window.entry.job
                if window.cut and window.generated is not None:
                    pixels, mask = window.cut
                    job.record.inpaint_s = (job.record.inpaint_s or 0.0) + share_s
                    with _failing(job.record):
                        match = match_colours if job.kind[1] is None else keep_colours
                        job.paste(window.number, match(pixels, window.generated, mask))
                entry.returned += 1
                if entry.returned == job.count:
                    self._end_round(entry)

    def _end_round(self, entry: Entry) -> None:
        """Queue the next round of a sample; a sample that has failed, or has no more, is done."""
        goes_on = False
        if entry.job.record.error_stage is None:
            with _failing(entry.job.record):
                goes_on = entry.job.advance()
        if not goes_on:
            entry.done.set_result(entry.job)
            return
        with self._arrival:
            self._waiting.put_again(entry)
            self._arrival.notify()


@contextmanager
def _failing(record: Record) -> Iterator[None]:
    """Fail only this sample if the block raises."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - one sample must not affect the others
        fail(record, "inpaint", error)


def _or_exit(work: Callable[[], None]) -> None:
    """Run a thread that must not end; if it does, exit, since others would wait for it forever."""
    try:
        work()
    finally:
        logger.exception("a thread of the model loop ended")
        os._exit(THREAD_LOST)


def is_out_of_memory(error: BaseException | None) -> bool:
    """Return whether an error means that the host or the device ran out of memory.

    PyTorch's CPU allocator, CUDA, its libraries and Triton report it only in the message. During the capture of a
    graph, the error is that the capture failed, and the reason is its context.
    """
    if error is None or isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return error is not None
    return _NO_MEMORY.search(str(error)) is not None or is_out_of_memory(error.__context__)
