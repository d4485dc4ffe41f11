"""Crops of held-out photos with holes, what a model fills into them, and how near that comes to the truth."""

import io
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from moebius.autoencoder.vae import encode_pairs
from moebius.inference.inpainter import Inpainter
from moebius.inference.settings import InpaintSettings
from moebius.network.functional import latent_mask
from moebius.train.data.batches import noisy_batch
from moebius.train.losses.efficientnet_lite import LiteFeatures, feature_distances, statistics_distances
from moebius.train.tasks.denoising import noise_losses
from moebius.weights import find_weights
from pipeline.evaluation.metrics import texture_distance

SIZE_PX = 128
BOX_PX = (50, 84)
QUALITY = 95
SAMPLERS = (("ddim", 20), ("dpm++", 10))
BATCH = 32
THREADS = 16
MASKS = "masks.npz"
NOISE_SEED = 11


@dataclass(frozen=True)
class HeldOut:
    """Crops and holes.

    Args:
        kinds: of each hole: ``boxes``, ``strokes`` or ``text``.
        images: (N, 128, 128, 3) uint8.
        holes: (N, 128, 128) bool.
    """

    kinds: list[str]
    images: np.ndarray
    holes: np.ndarray


def write_held_out(photos: list[np.ndarray], target: Path, seed: int) -> int:
    """Store one crop per photo and kind of hole: WebP pictures in a zip file, beside the holes as bits."""
    from pipeline.evaluation.masks import stroke_mask, text_mask

    def box(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
        hole = np.zeros((height, width), bool)
        tall, wide = rng.integers(BOX_PX[0], BOX_PX[1] + 1, size=2)
        top, left = rng.integers(height - tall + 1), rng.integers(width - wide + 1)
        hole[top : top + tall, left : left + wide] = True
        return hole

    holes: dict[str, np.ndarray] = {}
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for part, (kind, draw) in enumerate({"boxes": box, "strokes": stroke_mask, "text": text_mask}.items()):
            for number, photo in enumerate(photos):
                rng, name = np.random.default_rng([seed, part, number]), f"{kind}-{number:03}"
                side = int(rng.integers(SIZE_PX, min(photo.shape[:2]) + 1))
                top, left = (int(rng.integers(length - side + 1)) for length in photo.shape[:2])
                crop = Image.fromarray(photo[top : top + side, left : left + side])
                buffer = io.BytesIO()
                crop.resize((SIZE_PX, SIZE_PX), Image.Resampling.BILINEAR).save(
                    buffer, "WEBP", quality=QUALITY, method=6
                )
                archive.writestr(f"{name}.webp", buffer.getvalue())
                holes[name] = np.zeros((SIZE_PX, SIZE_PX), bool)
                while not 0 < holes[name].mean() <= 0.5:
                    holes[name] = draw(SIZE_PX, SIZE_PX, rng)
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **{name: np.packbits(hole, axis=-1) for name, hole in holes.items()})
        archive.writestr(MASKS, buffer.getvalue())
    return len(holes)


def read_held_out(path: Path, count: int | None = None) -> HeldOut:
    """Read what :func:`write_held_out` stored, of each kind the first ``count``."""
    with zipfile.ZipFile(path) as archive:
        with np.load(io.BytesIO(archive.read(MASKS)), allow_pickle=False) as masks:
            names = [name for name in sorted(masks.files) if count is None or int(name[-3:]) < count]
            holes = np.stack([np.unpackbits(masks[name], axis=-1).astype(bool) for name in names])
        images = [np.asarray(Image.open(io.BytesIO(archive.read(f"{name}.webp"))).convert("RGB")) for name in names]
    return HeldOut([name[:-4] for name in names], np.stack(images), holes)


def fill(weights: str, held_out: HeldOut, sampler: str, steps: int, seed: int, device: torch.device) -> np.ndarray:
    """Fill all holes as ``moebius inpaint`` does without guidance, pasted: (N, 128, 128, 3) uint8."""
    size = min(BATCH, len(held_out.images))
    settings = InpaintSettings(
        steps=steps, sampler=sampler, guidance=1.0, precision="fp32", batch_size=size, fast=False
    )
    inpainter = Inpainter.from_pretrained(weights, settings, device)
    filled: list[np.ndarray] = []
    for start in range(0, len(held_out.images), size):
        part = slice(start, start + size)
        seeds = [1000 * seed + index for index in range(len(held_out.images))[part]]
        filled += inpainter.fill(list(held_out.images[part]), list(held_out.holes[part]), seeds)
    return np.where(held_out.holes[..., None], np.stack(filled), held_out.images)


@torch.no_grad()
def noise_errors(weights: str, held_out: HeldOut, device: torch.device) -> dict[str, float]:
    """Measure the mean squared error of the noise, everywhere and in holes, on draws that are always the same."""
    denoiser, vae = (model.to(device) for model in find_weights(weights).load())
    rng, size, errors = np.random.default_rng(NOISE_SEED), denoiser.config.latent_size, []
    for start in range(0, len(held_out.images), BATCH):
        images = _batch(held_out.images[start : start + BATCH], device)
        holes = torch.from_numpy(held_out.holes[start : start + BATCH])[:, None].float().to(device)
        shape = (2, len(images), denoiser.config.latent_channels, size, size)
        noise = torch.from_numpy(rng.standard_normal(shape)).float().to(device)
        clean, masked = encode_pairs(vae, images, holes, noise)
        batch = noisy_batch(clean, masked, latent_mask(holes, size), 0.0, rng, uniform_times=True)
        predicted = denoiser(batch.inputs, batch.timesteps, batch.category_ids)
        losses = noise_losses(predicted, batch, noise_cap=0.0, known_weight=1.0)
        errors.append([float(losses["total"]), float(losses["hole"])])
    total, hole = np.mean(errors, axis=0)
    return {"noise": round(float(total), 5), "hole": round(float(hole), 5)}


def measure(filled: np.ndarray, held_out: HeldOut, features: LiteFeatures) -> dict[str, dict[str, float]]:
    """Mean PSNR in the holes (dB), distances of texture and of features in them and of statistics, by kind of hole."""
    truth, holes = held_out.images, held_out.holes
    with ThreadPoolExecutor(THREADS) as pool:
        texture = list(pool.map(texture_distance, truth, filled, holes))
    errors = [np.square(truth[i][hole].astype(float) - filled[i][hole]).mean() for i, hole in enumerate(holes)]
    psnr = 10 * np.log10(255**2 / np.maximum(errors, 1e-9))
    device = next(features.parameters()).device
    with torch.no_grad():
        maps = [features(_batch(pixels, device)) for pixels in (filled, truth)]
        feature = feature_distances(*maps, torch.from_numpy(holes)[:, None].float().to(device)).cpu().numpy()
        statistics = statistics_distances(*maps).cpu().numpy()
    values = {"psnr": psnr, "texture": np.array(texture), "features": feature, "statistics": statistics}
    kinds = np.array(held_out.kinds)
    return {
        kind: {name: round(float(value[kinds == kind].mean()), 4) for name, value in values.items()}
        for kind in sorted(set(held_out.kinds))
    }


def evaluate(
    weights: str, held_out: HeldOut, features: LiteFeatures, device: torch.device, seeds: int
) -> dict[str, dict[str, dict[str, float]]]:
    """Figures of :func:`measure` by sampler, each the mean over ``seeds`` seeds."""
    results = {}
    for sampler, steps in SAMPLERS:
        runs = [
            measure(fill(weights, held_out, sampler, steps, seed, device), held_out, features) for seed in range(seeds)
        ]
        results[f"{sampler} {steps}"] = {
            kind: {name: round(float(np.mean([run[kind][name] for run in runs])), 4) for name in runs[0][kind]}
            for kind in runs[0]
        }
    return results


def write_sheets(held_out: HeldOut, columns: dict[str, np.ndarray], per_kind: int, target: Path) -> None:
    """Write a sheet per kind of hole above each other: the hole, fills in the order of ``columns``, the truth."""
    sheets = []
    hidden = np.where(held_out.holes[..., None], 128, held_out.images)
    for kind in sorted(set(held_out.kinds)):
        chosen = [index for index, name in enumerate(held_out.kinds) if name == kind][:per_kind]
        rows = [np.concatenate(list(part[chosen]), axis=1) for part in (hidden, *columns.values(), held_out.images)]
        sheets.append(np.concatenate(rows))
    Image.fromarray(np.concatenate(sheets).astype(np.uint8)).save(target)


def _batch(pixels: np.ndarray, device: torch.device) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).float().to(device) / 127.5 - 1
