import queue
import threading
import weakref

import numpy as np
import pytest
import torch

import pipeline.worker.batcher
from moebius import Inpainter, InpaintSettings
from moebius.windows import plan_windows
from moebius.windows.painting import SecondPass
from pipeline.codecs.photo import Photo
from pipeline.records import FAILED, Record
from pipeline.worker.batcher import ModelLoop
from pipeline.worker.sample_job import SampleJob
from tests.conftest import textured


def job(name: str, holes: int, seed: int = 0) -> SampleJob:
    image = textured(64, 64 * max(holes, 1), seed)
    mask = np.zeros(image.shape[:2], bool)
    for index in range(holes):
        mask[20:40, 64 * index + 20 : 64 * index + 40] = True
    windows = plan_windows(mask, 64)
    assert len(windows) == holes
    record = Record(sample_id=name, status=FAILED, seed=seed)
    return SampleJob(record, b"", Photo(image, "RGB", "PNG"), mask, image, windows, seed)


def is_filled(job: SampleJob) -> bool:
    return bool((job.patch != job.seen[job.box.slices]).any())


class Recorder:
    """Stands before the real inpainter: notes every batch, and breaks when told to."""

    def __init__(self, inpainter: Inpainter, breaks=lambda pixels, size: None):
        self.inpainter, self.breaks = inpainter, breaks
        self.batch_size, self.window_px = inpainter.batch_size, inpainter.window_px
        self.device = inpainter.device
        self.batches: list[int] = []

    def generate(self, pixels, masks, seeds, **other):
        self.breaks(pixels, self.batch_size)
        self.batches.append(len(pixels))
        self.inpainter.batch_size = self.batch_size
        return self.inpainter.generate(pixels, masks, seeds, **other)


@pytest.fixture
def inpainter(tiny_weights):
    return Inpainter.from_pretrained(str(tiny_weights), InpaintSettings(steps=2, batch_size=4))


def repaint(loop: ModelLoop, jobs: list[SampleJob]) -> list[SampleJob]:
    return [future.result(timeout=60) for future in [loop.repaint(job) for job in jobs]]


def test_batches_fill_across_samples_and_give_what_each_gives_alone(inpainter):
    recorder = Recorder(inpainter)
    jobs = [job("a", 3, 1), job("b", 1, 2), job("none", 0, 3), job("c", 6, 4)]
    done = repaint(ModelLoop(recorder, 1), jobs)
    assert sum(recorder.batches) == 10 and len(recorder.batches) <= 5
    for finished in done:
        (alone,) = repaint(ModelLoop(inpainter, 1), [job("x", len(finished.windows), finished.record.seed)])
        assert np.array_equal(finished.patch, alone.patch)
        assert finished.record.error_stage is None


def test_model_goes_on_while_the_last_batch_is_pasted(inpainter):
    calls, has_gone_on = [], threading.Event()

    def called(pixels, size):
        calls.append(len(pixels))
        if len(calls) == 2:
            has_gone_on.set()

    def paste(number, filled):
        assert has_gone_on.wait(timeout=30)
        SampleJob.paste(slow, number, filled)

    slow, other = job("slow", 4, 1), job("other", 4, 2)
    slow.paste = paste
    done = repaint(ModelLoop(Recorder(inpainter, called), 1), [slow, other])
    assert all(finished.record.error_stage is None and is_filled(finished) for finished in done)


def test_many_holes_do_not_delay_a_small_sample(inpainter):
    recorder = Recorder(inpainter)
    loop = ModelLoop(recorder, 1)
    large, small = loop.repaint(job("large", 60)), loop.repaint(job("small", 1))
    small.result(timeout=60)
    assert not large.done()
    large.result(timeout=60)


def test_out_of_memory_halves_the_batch_and_loses_nothing(inpainter):
    def breaks(pixels, size):
        if size > 1:
            raise MemoryError("no room")

    recorder = Recorder(inpainter, breaks)
    done = repaint(ModelLoop(recorder, 1), [job("a", 5), job("b", 2)])
    assert recorder.batch_size == 1
    assert all(finished.record.error_stage is None for finished in done)
    assert all(map(is_filled, done))


def capture_without_memory():
    """As PyTorch ends it: the graph's context raises while the reason is on its way."""
    try:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
    finally:
        raise RuntimeError("CUDA error: operation failed due to a previous error during capture")


@pytest.mark.parametrize(
    "message",
    [
        "CUDA error: out of memory",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "Triton Error [CUDA]: out of memory",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        None,
    ],
)
def test_lack_of_memory_that_is_said_in_words_halves_the_batch_and_ends_no_worker(inpainter, monkeypatch, message):
    monkeypatch.setattr(pipeline.worker.batcher.os, "_exit", lambda code: pytest.fail("the worker ended"))

    def breaks(pixels, size):
        if size > 2:
            raise RuntimeError(message) if message else capture_without_memory()

    recorder = Recorder(inpainter, breaks)
    done = repaint(ModelLoop(recorder, 1), [job("a", 4)])
    assert recorder.batch_size == 2 and done[0].record.error_stage is None


def test_fault_of_the_device_ends_the_worker(inpainter, monkeypatch):
    codes = queue.Queue()

    def exit_thread(code):
        codes.put(code)
        threading.Event().wait()

    monkeypatch.setattr(pipeline.worker.batcher.os, "_exit", exit_thread)

    def breaks(pixels, size):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    ModelLoop(Recorder(inpainter, breaks), 1).repaint(job("a", 1))
    assert codes.get(timeout=60) == pipeline.worker.batcher.DEVICE_LOST


def test_what_failed_for_lack_of_memory_is_let_go_before_the_next_try(inpainter):
    maps: list[weakref.ref] = []
    alive = []

    def breaks(pixels, size):
        alive.append(sum(one() is not None for one in maps))
        held = np.zeros(9)  # in the frame that the traceback holds
        maps.append(weakref.ref(held))
        if size > 1:
            raise MemoryError("no room")

    repaint(ModelLoop(Recorder(inpainter, breaks), 1), [job("a", 4)])
    assert len(alive) > 4 and not any(alive)


def test_out_of_memory_with_one_window_fails_that_sample_alone(inpainter):
    def breaks(pixels, size):
        if size > 1 or any(np.array_equal(cut, jobs[1].seen) for cut in pixels):
            raise MemoryError("no room")

    jobs = [job("a", 1, 1), job("b", 1, 2), job("c", 1, 3)]
    done = repaint(ModelLoop(Recorder(inpainter, breaks), 1), jobs)
    assert [finished.record.error_type for finished in done] == [None, "MemoryError", None]


def test_window_at_fault_is_found_in_its_batch(inpainter):
    def breaks(pixels, size):
        if any(np.array_equal(cut, jobs[2].seen) for cut in pixels):
            raise FloatingPointError("NaN")

    jobs = [job(str(index), 1, index) for index in range(4)]
    recorder = Recorder(inpainter, breaks)
    done = repaint(ModelLoop(recorder, 1), jobs)
    assert [finished.record.error_type for finished in done] == [None, None, "FloatingPointError", None]
    assert recorder.batch_size == 4


def test_samples_of_several_strengths_share_the_loop_but_no_batch(inpainter, tiny_weights):
    """Each is what it is alone with an inpainter of its strength."""
    jobs = [job(str(index), 3, index) for index in range(4)]
    jobs[1].strength = jobs[3].strength = 1.0
    done = repaint(ModelLoop(inpainter, 2), jobs)
    for finished in done:
        settings = InpaintSettings(steps=2, batch_size=4, strength=finished.strength or InpaintSettings.strength)
        apart = Inpainter.from_pretrained(str(tiny_weights), settings)
        (alone,) = repaint(ModelLoop(apart, 1), [job("x", 3, finished.record.seed)])
        assert np.array_equal(finished.patch, alone.patch)


@pytest.mark.parametrize("step", ["cut", "paste"])
def test_window_that_cannot_be_cut_or_pasted_fails_its_sample_alone(inpainter, step):
    def breaks(*arguments):
        raise ValueError("box offset")

    jobs = [job(str(index), 2, index) for index in range(3)]
    setattr(jobs[1], step, breaks)
    done = repaint(ModelLoop(inpainter, 2), jobs)
    assert [finished.record.error_type for finished in done] == [None, "ValueError", None]
    assert is_filled(done[0]) and is_filled(done[2])


def test_result_does_not_depend_on_the_number_of_threads(tiny_weights):
    single = Inpainter.from_pretrained(str(tiny_weights), InpaintSettings(steps=4))
    results = [repaint(ModelLoop(single, threads), [job("a", 5), job("b", 3, 1)]) for threads in (1, 2, 4)]
    for other in results[1:]:
        for first, second in zip(results[0], other, strict=True):
            assert np.array_equal(first.patch, second.patch)


def large_job(name: str, seed: int = 0, side: int = 150) -> SampleJob:
    image, mask = textured(side, side, seed), np.zeros((side, side), bool)
    mask[20 : side - 20, 15 : side - 10] = True
    record = Record(sample_id=name, status=FAILED, seed=seed)
    windows, second = plan_windows(mask, 64), SecondPass(64, 0.5)
    return SampleJob(record, b"", Photo(image, "RGB", "PNG"), mask, image, windows, seed, second=second)


def test_second_pass_of_a_sample_is_that_of_python_whatever_runs_beside_it(tiny_weights):
    model = Inpainter.from_pretrained(str(tiny_weights), InpaintSettings(steps=2, batch_size=4, refine=0.5))
    recorder = Recorder(model)
    jobs = [large_job("a", 1), job("b", 5, 2), large_job("c", 3, 130), job("none", 0, 4)]
    done = repaint(ModelLoop(recorder, 2), jobs)
    assert sum(recorder.batches) == sum(finished.window_count for finished in done)
    for finished in done[::2]:
        (expected,) = model([finished.seen], [finished.mask], [finished.seed])
        assert finished.record.error_stage is None and finished.window_count > 5
        assert np.array_equal(finished.patch, expected[finished.inside])


def test_sample_that_fails_in_its_second_pass_has_no_more_rounds_and_harms_no_other(inpainter):
    def paste(number, filled):
        if jobs[0].kind[1] == "photo":
            raise ValueError("box offset")
        SampleJob.paste(jobs[0], number, filled)

    jobs = [large_job("a", 1), large_job("b", 2)]
    jobs[0].paste = paste
    failed, other = repaint(ModelLoop(inpainter, 1), jobs)
    assert failed.record.error_type == "ValueError" and other.record.error_stage is None
    assert failed.advance()  # there would be another
