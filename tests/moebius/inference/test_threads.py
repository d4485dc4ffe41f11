import threading

import numpy as np
import pytest
import torch

import moebius.inference.window_inpainter
from moebius import Inpainter, InpaintSettings
from moebius.hardware import usable_cores
from moebius.inference.threads import compute_each, max_threads, torch_threads
from tests.conftest import textured


@pytest.fixture
def four_threads(monkeypatch):
    monkeypatch.setattr("moebius.inference.threads.usable_cores", lambda: 8)
    with torch_threads(4):
        yield


@pytest.fixture
def case():
    masks = [np.zeros((64, 300), bool) for _ in range(2)]
    for mask in masks:
        mask[10:40, 10:30] = mask[10:40, 120:150] = mask[10:40, 250:280] = True
    return [textured(64, 300, seed) for seed in range(2)], masks, [1, 2]


def test_items_are_computed_by_threads_of_one_and_the_caller_keeps_its_own(four_threads):
    together, threads = threading.Barrier(3, timeout=60), set()

    def work(item):
        together.wait()  # three at once
        (torch.ones(300, 300) @ torch.ones(300, 300)).exp()
        threads.add(threading.get_ident())
        return item, torch.get_num_threads()

    assert sorted(result for _, result in compute_each(work, range(3), 3)) == [(0, 1), (1, 1), (2, 1)]
    assert len(threads) == 3 and torch.get_num_threads() == 4
    later: list[int] = []
    thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert later == [4]  # a thread that anyone else starts


def test_error_of_one_item_ends_the_others_and_is_raised(four_threads):
    def work(item):
        if item == 0:
            raise ValueError("no")
        return item

    with pytest.raises(ValueError, match="no"):
        list(compute_each(work, range(50), 2))
    assert torch.get_num_threads() == 4


def test_library_computes_as_a_job_does_whatever_threads_there_are(tiny_weights, case, four_threads):
    settings = InpaintSettings(steps=2, batch_size=1)
    seen: list[int] = []
    progress: list[tuple[int, int]] = []

    class Noted(Inpainter):
        def _decoded(self, *given):
            seen.append(torch.get_num_threads())
            return super()._decoded(*given)

    inpainter = Noted.from_pretrained(str(tiny_weights), settings)
    results = inpainter(*case, on_progress=lambda *done: progress.append(done))
    (whole,) = inpainter.generate([textured(64, 64)], [np.ones((64, 64), bool)], [3])
    assert seen == [1] * 7 and torch.get_num_threads() == 4
    assert progress == [(done, 6) for done in range(1, 7)]
    with torch_threads(1):
        alone = inpainter(*case)
        assert np.array_equal(inpainter.generate([textured(64, 64)], [np.ones((64, 64), bool)], [3])[0], whole)
    assert all(np.array_equal(one, other) for one, other in zip(results, alone, strict=True))


def test_memory_bounds_the_batches_at_once(tiny_weights, monkeypatch, four_threads):
    inpainter = Inpainter.from_pretrained(str(tiny_weights), InpaintSettings(steps=2, batch_size=1))
    assert inpainter._batches_at_once() == 4
    monkeypatch.setattr(moebius.inference.window_inpainter, "memory_mb", lambda device: 3 * 2 * 36 * 64 * 64 * 32 / 1e6)
    assert inpainter._batches_at_once() == 3


def test_threads_that_share_a_gpu_s_model_take_turns(tiny_weights, case):
    inpainter = Inpainter.from_pretrained(str(tiny_weights), InpaintSettings(steps=2, batch_size=1))
    gpu = Inpainter.__new__(Inpainter)
    gpu.__dict__.update(inpainter.__dict__, _turn=moebius.inference.window_inpainter.turns(torch.device("cuda")))
    inside, most = [], []

    def sample(*given):
        inside.append(1)
        most.append(len(inside))
        result = inpainter._decoded(*given)
        inside.pop()
        return result

    gpu._decoded = sample
    images, masks, seeds = case
    threads = [threading.Thread(target=gpu, args=(images, masks, seeds)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1 and len(most) == 18


def test_cores_are_bound_by_the_quota_of_the_container(tmp_path, monkeypatch):
    cores = usable_cores()
    for text, expected in (("max 100000", cores), ("50000 100000", 1), ("nonsense", cores)):
        (tmp_path / "cpu.max").write_text(text)
        monkeypatch.setattr("moebius.hardware.CONTAINER_QUOTA", tmp_path / "cpu.max")
        assert usable_cores() == expected
    with torch_threads(3):
        assert max_threads() == min(3, cores)
