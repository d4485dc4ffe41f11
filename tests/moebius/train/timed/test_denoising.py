import numpy as np
import pytest
import torch

from moebius.autoencoder.small import SmallAutoencoder, SmallAutoencoderConfig
from moebius.network.published import published_name
from moebius.train.data.device_crops import DeviceCrops
from moebius.train.data.latent_pool import LatentPool
from moebius.train.data.mask_bank import MaskBank
from moebius.train.tasks.denoising import fresh_denoiser
from moebius.train.timed import denoising
from moebius.train.timed.denoising import TimedDenoising
from tests.conftest import textured
from tests.moebius.train.timed.test_captured_step import CONFIG, SETTINGS

CPU = torch.device("cpu")


@pytest.fixture
def task():
    torch.manual_seed(0)
    state = {published_name(name): value for name, value in fresh_denoiser(CONFIG).state_dict().items()}
    vae = SmallAutoencoder(SmallAutoencoderConfig()).eval()
    box = np.zeros((1, 64, 64), bool)
    box[0, 16:48, 16:48] = True
    crops = DeviceCrops([textured(80, 90, seed=1)], 64, CPU)
    pool = LatentPool(vae, crops, MaskBank({"box": box}, CPU), ("box",), 8, capacity=16)
    return TimedDenoising(SETTINGS, CONFIG, state, pool, reuse=4, seed=0)


class CountedClock:
    """A clock on which every look at it takes a second, however slow the machine is."""

    def __init__(self, seconds):
        self.seconds, self.looks = seconds, 0

    @property
    def elapsed(self):
        self.looks += 1
        return float(self.looks)

    @property
    def share(self):
        return min(1.0, self.elapsed / self.seconds)


def test_a_run_trains_until_its_time_is_over_and_saves_meanwhile(task, monkeypatch):
    monkeypatch.setattr(denoising, "Clock", CountedClock)
    monkeypatch.setattr(denoising, "EMA_EVERY", 1)
    saved = []
    start = {name: value.clone() for name, value in task._new_model().state_dict().items()}
    run = task.run(30.0, 0.0, lambda state: saved.append({name: value.clone() for name, value in state.items()}))
    steps = run.notes["steps"]
    assert len(run.rows) == steps == 6 and len(saved) == steps  # of five looks each
    assert run.notes["samples"] == 4 * steps
    assert run.notes["pairs"] == 16 + 4 * -(-steps // 4)  # each is drawn four times
    assert any(not torch.equal(run.state[name], value) for name, value in start.items())
    assert all(torch.equal(value, start[name]) for name, value in task._new_model().state_dict().items())
    assert saved[-1].keys() == run.state.keys()


def test_a_loss_that_is_no_number_restarts_from_the_averaged_weights_until_every_rate_has_failed(task, monkeypatch):
    monkeypatch.setattr(denoising, "EMA_EVERY", 1)
    way = task._fastest_step

    def spoilt(clock):
        step, notes = way(clock)
        compute = step._compute

        def compute_nan():
            compute()
            step.loss.fill_(float("nan"))
            restarts.append(step.restart)

        step.replay = compute_nan
        return step, notes

    restarts = []
    monkeypatch.setattr(task, "_fastest_step", spoilt)
    with pytest.raises(FloatingPointError, match="at every rate"):
        task.run(600.0, 1000.0, lambda state: None)
    assert len(restarts) == 7


def test_a_way_that_fails_leaves_the_others_and_none_is_an_error(task, monkeypatch):
    monkeypatch.setattr(denoising, "WAYS", ((False, True),))

    def fail(*_):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(task, "_timed_step", fail)
    task.pool.encode(4, task.generator)
    with pytest.raises(RuntimeError, match="no way to compute a step works"):
        task.run(1.0, 1.0, lambda state: None)
