"""Train ``nano`` further for a given number of seconds, on the data of a folder that ``pack_nano.py`` made.

``python benchmarks/train_nano_gpu.py FOLDER --out OUT --seconds 240`` trains the denoiser, then the decoder, and
measures both on held-out photos. OUT holds weights that load, at any time and however the run ends; ``--weights OUT``
continues from them.
"""

import argparse
import json
import logging
import os
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import torch  # noqa: E402 - see above
from held_out_fills import evaluate, fill, noise_errors, read_held_out, write_sheets  # noqa: E402
from pack_nano import FEATURES, HELD_OUT, MASKS, PHOTOS, SIZE_PX  # noqa: E402
from torch import Tensor  # noqa: E402

from moebius.checkpoint import read_state_dict, write_state_dict  # noqa: E402
from moebius.hardware import device_name, versions  # noqa: E402
from moebius.network.published import published_name  # noqa: E402
from moebius.train.data.device_crops import DeviceCrops  # noqa: E402
from moebius.train.data.latent_pool import LatentPool  # noqa: E402
from moebius.train.data.mask_bank import MaskBank, read_masks  # noqa: E402
from moebius.train.data.photo_archive import read_archive  # noqa: E402
from moebius.train.data.random_masks import BRUSHES  # noqa: E402
from moebius.train.losses.efficientnet_lite import load_lite_features  # noqa: E402
from moebius.train.optimization.devices import choose_device  # noqa: E402
from moebius.train.settings import TrainSettings  # noqa: E402
from moebius.train.timed.clock import Clock  # noqa: E402
from moebius.train.timed.decoder_samples import DecoderPool, DecoderSamples  # noqa: E402
from moebius.train.timed.decoder_tuning import DecoderSettings, DecoderTuning  # noqa: E402
from moebius.train.timed.denoising import TimedDenoising  # noqa: E402
from moebius.weights.files import NANO_FOLDER, find_weights  # noqa: E402

logger = logging.getLogger("train_nano_gpu")
WEIGHTS, REPORT, SHEETS = "diffusion_pytorch_model.safetensors", "report.json", "sheets.png"
SAMPLING_SHARE = 0.12  # of the decoder's seconds, for latents to decode
SAVE_EVERY_S = 40.0
SEED = 20


def main() -> None:
    """Train and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--weights", default="nano", help="to train further: nano, or a folder that a run wrote")
    parser.add_argument("--seconds", type=float, default=240.0, help="of training; loading and measuring take more")
    parser.add_argument("--denoiser-share", type=float, default=0.7, help="of the seconds; 0 trains only the decoder")
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--decoder-batch", type=int, default=64)
    parser.add_argument("--decoder-rate", type=float, default=DecoderSettings.learning_rate)
    parser.add_argument("--rate", type=float, default=2.5e-3, help="learning rate of the denoiser")
    parser.add_argument("--reuse", type=int, default=4, help="how often a pair of latents is drawn, about")
    parser.add_argument("--pool", type=int, default=131_072, help="pairs of latents that are kept")
    parser.add_argument("--crops", type=int, help="held-out crops per kind of hole; all without it")
    parser.add_argument("--seeds", type=int, default=2, help="of the measurement")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--eager", action="store_true", help="capture no CUDA graph")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    Run(options).all()


class Run:
    """One run, whose parts keep what they have in ``out``."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.out, self.started = options, options.out, time.monotonic()
        chosen = {name: str(value) for name, value in vars(options).items()}
        self.report: dict[str, Any] = {"kind": "nano on a GPU", "options": chosen}
        self.device = choose_device(options.device)
        if self.device.type == "cuda":
            torch.backends.cudnn.benchmark = True
            torch.backends.cudnn.benchmark_limit = 4
            torch.backends.cudnn.conv.fp32_precision = "tf32"
            torch.backends.cuda.matmul.fp32_precision = "tf32"

    def all(self) -> None:
        """Load, measure, train the denoiser, measure, train the decoder, measure.

        A stage whose share of the time is 0 is left out. Once the denoiser is trained, a part that fails is noted and
        the next one is tried.
        """
        self.report |= {"machine": device_name(self.device), "versions": versions("torch", "numpy", "pillow")}
        self._load()
        self._measure("before", str(self.out))
        self._note_noise(str(self.out))
        seconds, share = self.options.seconds, self.options.denoiser_share
        parts: list[Callable[[], None]] = []
        if share > 0:
            self._train_denoiser(share * seconds)
            parts.append(partial(self._measure, "denoiser", str(self.out)))
        if share < 1:
            parts.append(partial(self._train_decoder, (1 - share) * seconds))
            parts.append(partial(self._measure, "decoder", str(self.out)))
        for part in parts:
            try:
                part()
            except (RuntimeError, FloatingPointError) as error:
                logger.exception("going on with what was saved last")
                self.report.setdefault("errors", []).append(str(error)[:500])
        self._note("all")

    def _load(self) -> None:
        folder = self.options.folder
        self.crops = DeviceCrops(read_archive(folder / PHOTOS, os.cpu_count() or 1), SIZE_PX, self.device)
        masks = read_masks(folder / MASKS)
        if missing := BRUSHES.keys() - masks.keys():
            raise SystemExit(f"{folder / MASKS} lacks {', '.join(sorted(missing))}: pack it anew with pack_nano.py")
        self.masks = MaskBank(masks, self.device)
        self.features = load_lite_features(folder / FEATURES).to(self.device)
        self.held_out = read_held_out(folder / HELD_OUT, self.options.crops)
        self.fills: dict[str, Any] = {}
        source = NANO_FOLDER if self.options.weights == "nano" else Path(self.options.weights)
        if source.resolve() != self.out.resolve():
            shutil.copytree(source / "vae", self.out / "vae", dirs_exist_ok=True)
            for name in (WEIGHTS, "config.json"):
                shutil.copy(source / name, self.out / name)
        self._note("loaded")

    def _train_denoiser(self, seconds: float) -> None:
        clock, weights = Clock(seconds), find_weights(str(self.out))
        vae = weights.load()[1].to(self.device)
        settings = TrainSettings(
            photos=PHOTOS,
            vae="nano",
            batch_size=self.options.batch,
            learning_rate=self.options.rate,
            ema_decay=0.997,
            masks=("fine", "thin", "medium", "thick", "boxes"),
            uniform_times=True,
            noise_cap=40,
            known_weight=0.3,
        )
        pool = LatentPool(vae, self.crops, self.masks, settings.masks, weights.config.latent_size, self.options.pool)
        state = read_state_dict(weights.denoiser)
        task = TimedDenoising(
            settings, weights.config, state, pool, self.options.reuse, SEED, capture=not self.options.eager
        )
        run = task.run(seconds - clock.elapsed, SAVE_EVERY_S, self._save_denoiser)
        self._save_denoiser(run.state)
        self.report["denoiser"] = run.notes | {"rows": thinned(run.rows)}
        self._note("denoiser")

    def _train_decoder(self, seconds: float) -> None:
        clock = Clock(seconds)
        denoiser, vae = (model.to(self.device) for model in find_weights(str(self.out)).load())
        samples = DecoderSamples(vae, self.crops, self.masks, SEED)
        settings = DecoderSettings(self.options.decoder_batch, self.options.decoder_rate)
        chunk, sampled = min(settings.pool_size, self.options.batch), DecoderPool(settings.pool_size, self.device)
        while sampled.added < settings.pool_size and (not sampled.added or clock.share < SAMPLING_SHARE):
            samples.add_sampled(sampled, denoiser, chunk)
        self.report["decoder"] = {"sampled": sampled.added, "settings": asdict(settings)}
        tuning = DecoderTuning(vae, self.features, settings, SEED)
        state, rows = tuning.run(samples, sampled, clock, SAVE_EVERY_S, self._save_autoencoder)
        self._save_autoencoder(state)
        self.report["decoder"] |= {"steps": rows[-1]["step"] if rows else 0, "rows": thinned(rows)}
        self._note("decoder")

    def _save_denoiser(self, state: dict[str, Tensor]) -> None:
        write_state_dict({published_name(name): halved(value) for name, value in state.items()}, self.out / WEIGHTS)
        self._note_noise(str(self.out))

    def _note_noise(self, weights: str) -> None:
        """Note the error of the noise on held-out photos, which tells whether the denoiser learns them by heart."""
        errors = noise_errors(weights, self.held_out, self.device)
        self.report.setdefault("held_out_noise", []).append(errors)
        logger.info("error of the noise on held-out crops: %s", errors)
        self._note("held-out noise")

    def _save_autoencoder(self, state: dict[str, Tensor]) -> None:
        write_state_dict({name: halved(value) for name, value in state.items()}, self.out / "vae" / WEIGHTS)

    def _measure(self, name: str, weights: str) -> None:
        device = self.device
        try:
            figures = evaluate(weights, self.held_out, self.features, device, self.options.seeds)
        except RuntimeError as error:  # of a GPU; weights are worth more than a measurement's speed
            logger.exception("measuring on the CPU")
            self.report[f"measured on the CPU: {name}"] = str(error)[:500]
            device = torch.device("cpu")
            figures = evaluate(weights, self.held_out, self.features.cpu(), device, 1)
            self.features.to(self.device)
        self.report.setdefault("figures", {})[name] = figures
        logger.info("%s: %s", name, json.dumps(figures["ddim 20"]))
        self.fills[name] = fill(weights, self.held_out, "ddim", 20, 0, device)
        columns = {key: value for key, value in self.fills.items() if key in ("before", name)}
        write_sheets(self.held_out, columns, 12, self.out / SHEETS)
        self._note(f"measured {name}")

    def _note(self, what: str) -> None:
        seconds = self.report.setdefault("seconds", {})
        seconds[what] = round(time.monotonic() - self.started, 1)
        logger.info("%s at %.1f s", what, seconds[what])
        if self.device.type == "cuda":
            self.report["gpu_memory_gb"] = round(torch.cuda.max_memory_allocated() / 1e9, 1)
        (self.out / REPORT).write_text(json.dumps(self.report, indent=1) + "\n")


def halved(value: Tensor) -> Tensor:
    """A value in float16 where it is finite in it."""
    half = value.half() if value.is_floating_point() else value
    return half.cpu() if torch.equal(half.isfinite(), value.isfinite()) else value.cpu()


def thinned(rows: list[dict[str, float]], count: int = 60) -> list[dict[str, float]]:
    """About ``count`` of the rows, each rounded, evenly spread and with the last one."""
    kept = rows[:: max(1, len(rows) // count)] + rows[-1:]
    return [{name: round(value, 5) for name, value in row.items()} for row in kept]


if __name__ == "__main__":
    main()
