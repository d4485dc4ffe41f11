"""Training of the denoiser on a GPU for so many seconds: its data stays there, the rate goes by the clock."""

from __future__ import annotations

import gc
import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from moebius.network.config import MoebiusConfig
from moebius.network.denoiser import Denoiser
from moebius.network.published import load_denoiser
from moebius.train.data.batches import NoisyBatch, noise_latents
from moebius.train.data.latent_pool import LatentPool
from moebius.train.optimization.ema import Ema
from moebius.train.settings import TrainSettings
from moebius.train.timed.captured_step import DenoiserStep
from moebius.train.timed.clock import Clock, cosine_share

logger = logging.getLogger(__name__)
WARM_UP = 0.04  # of the time
EMA_EVERY = 8  # steps; between them nothing waits for the device
TIMED_STEPS = 4  # of each way to compute the step
TRIAL_SHARE = 0.15  # of the time, for comparing them
WAYS = ((False, True), (True, True), (True, False), (False, False))  # bf16, channels last
SAME_LOSS = 0.02  # relative difference of two losses of the same batch and weights
BF16_GAIN = 1.25  # what bf16 has to be faster than TF32 by


@dataclass(frozen=True)
class TimedRun:
    """Result of a run: averaged weights, and figures of its steps (seconds, steps, loss, loss in holes)."""

    state: dict[str, Tensor]
    rows: list[dict[str, float]]
    notes: dict[str, object]


class TimedDenoising:
    """The denoiser, trained on pairs of a pool.

    Args:
        settings: batch, rate, loss and averaging; steps are not counted.
        config: sizes of the denoiser.
        state: weights to start from, with published keys.
        pool: where latents come from; each pair is drawn about ``reuse`` times.
        reuse: see above.
        seed: of everything.
        capture: replay the step as a CUDA graph where that works.
    """

    def __init__(
        self,
        settings: TrainSettings,
        config: MoebiusConfig,
        state: Mapping[str, Tensor],
        pool: LatentPool,
        reuse: int,
        seed: int,
        capture: bool = True,
    ) -> None:
        self.capture = capture
        self.settings, self.config, self.pool, self.reuse = settings, config, pool, reuse
        self.device = pool.crops.device
        self.state = {name: value.clone() for name, value in state.items()}
        self.generator = torch.Generator(self.device).manual_seed(seed)

    def run(self, seconds: float, save_every_s: float, save: Callable[[dict[str, Tensor]], object]) -> TimedRun:
        """Train until the time is over.

        Args:
            seconds: of the run, with the choice of the fastest way to compute a step.
            save_every_s: how often ``save`` is called with the averaged weights, by our names.

        Raises:
            FloatingPointError: the loss stayed infinite or not a number at ever lower rates.
        """
        clock = Clock(seconds)
        self.pool.encode(min(len(self.pool.pairs), 4 * self.settings.batch_size), self.generator)
        step, notes = self._fastest_step(Clock(TRIAL_SHARE * seconds))
        ema = Ema(step.model, self.settings.ema_decay**EMA_EVERY)
        rows: list[dict[str, float]] = []
        done, peak, last_saved = 0, 1.0, 0.0
        while clock.share < 1:
            if done % self.reuse == 0:
                self.pool.encode(self.settings.batch_size, self.generator)
            step(self._batch(), peak * cosine_share(clock.share, WARM_UP))
            done += 1
            if done % EMA_EVERY:
                continue
            values = [float(value) for value in (step.loss, step.hole_loss, step.norm)]
            if not all(map(math.isfinite, values)):
                peak /= 2
                if peak < 1 / 64:
                    raise FloatingPointError(f"the loss at step {done} is {values[0]} at every rate")
                logger.warning("step %d gave %s: back to the averaged weights at half the rate", done, values)
                step.restart({name: value.to(self.device) for name, value in ema.state.items()})
                continue
            ema.update(step.model, done // EMA_EVERY)
            rows.append({"s": round(clock.elapsed, 2), "step": done, "loss": values[0], "hole": values[1]})
            if clock.elapsed - last_saved > save_every_s:
                last_saved = clock.elapsed
                save(ema.state)
        notes |= {"steps": done, "samples": done * self.settings.batch_size, "pairs": self.pool.encoded, "peak": peak}
        return TimedRun(ema.state, rows, notes)

    def _batch(self) -> NoisyBatch:
        clean, masked, masks = self.pool.draw(self.settings.batch_size, self.generator)
        settings = self.settings
        return noise_latents(clean, masked, masks, settings.unconditional_share, self.generator, settings.uniform_times)

    def _fastest_step(self, clock: Clock) -> tuple[DenoiserStep, dict[str, object]]:
        """Time some steps of each way to compute them, while there is time; none of these moves a weight.

        Raises:
            RuntimeError: no way works.
        """
        batch = self._batch()
        best: tuple[float, DenoiserStep] | None = None
        notes: dict[str, object] = {}
        for way in WAYS if self.device.type == "cuda" else WAYS[:1]:
            if best is not None and clock.share > 0.5:
                break
            name = f"{'bf16' if way[0] else 'tf32'}{', channels last' if way[1] else ''}"
            try:
                step, seconds = self._timed_step(batch, *way)
            except RuntimeError as error:  # also lack of memory; another way may do
                logger.warning("no step in %s: %s", name, error)
                notes[name] = str(error)[:200]
                continue
            notes[name] = {"seconds": round(seconds, 4), "captured": step.replay is not None}
            logger.info("a step of %d in %s: %s", self.settings.batch_size, name, notes[name])
            weighted = seconds * (BF16_GAIN if way[0] else 1)
            if best is None or weighted < best[0]:
                best, notes["way"] = (weighted, step), name
            del step
            _free_memory(self.device)
        if best is None:
            raise RuntimeError(f"no way to compute a step works: {notes}")
        best[1].restart(self._new_model().state_dict())
        return best[1], notes

    def _new_model(self) -> Denoiser:
        return load_denoiser({name: value.clone() for name, value in self.state.items()}, self.config)

    def _timed_step(self, batch: NoisyBatch, bf16: bool, channels_last: bool) -> tuple[DenoiserStep, float]:
        """A step and the seconds it takes."""
        model = self._new_model().requires_grad_(True).to(self.device)
        step = DenoiserStep(model, self.settings, batch, bf16, channels_last)
        step(batch, 0.0)
        expected = float(step.loss)
        if self.capture:
            step.capture()
        step(batch, 0.0)
        if not math.isclose(float(step.loss), expected, rel_tol=SAME_LOSS):
            raise RuntimeError(f"the same batch gave a loss of {expected}, then of {float(step.loss)}")
        started = time.monotonic()
        for _ in range(TIMED_STEPS):
            step(batch, 0.0)
        float(step.loss)
        return step, (time.monotonic() - started) / TIMED_STEPS


def _free_memory(device: torch.device) -> None:
    """Give back what graphs that nobody needs have kept."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
