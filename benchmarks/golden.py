"""Compare the model with the published code's outputs on any device: the plain and the optimized one.

Needs torch, safetensors and numpy alone: ``python benchmarks/golden.py --device cuda``. Exit code 1 if one is too far,
if a result depends on its place in a batch, or if the kernels for GPUs are unavailable on one.
"""

import argparse
import copy
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

ROOT = Path(__file__).parent.parent
GOLDEN = ROOT / "tests" / "golden"
sys.path[:0] = [str(ROOT), str(GOLDEN)]

from recipe import fill  # noqa: E402 - see above

from moebius.fast.backend import is_available  # noqa: E402
from moebius.fast.gpu_arithmetic import gpu_arithmetic  # noqa: E402
from moebius.fast.sampling import FastPrediction, best_batch_size  # noqa: E402
from moebius.hardware import make_current  # noqa: E402
from moebius.inference.preparation import DTYPES, precisions  # noqa: E402
from moebius.network.config import MoebiusConfig  # noqa: E402
from moebius.network.denoiser import Denoiser  # noqa: E402
from moebius.network.published import load_denoiser  # noqa: E402
from moebius.sampling.sampler import PlainPrediction  # noqa: E402

TINY = MoebiusConfig(channels=(32, 64, 128), image_size=128, category_width=96, context_width=48)
BOUNDS = {  # most important first
    ("fast", "bf16"): 2e-2,
    ("fast", "fp16"): 2e-2,
    ("fast", "fp32"): 1e-4,
    ("reference", "fp32"): 1e-4,
    ("reference", "bf16"): 1e-1,
}


def main() -> int:
    """Print the largest difference of each way to compute over the largest value."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="the small model only")
    options = parser.parse_args()
    device = torch.device(options.device)
    make_current(device)
    types = [DTYPES[precision] for precision in precisions(device)]
    # Without kernels it would be PyTorch's layers that are near.
    is_right = device.type != "cuda" or all(is_available(device, dtype) for dtype in types)
    for name, config in {"unet_full": MoebiusConfig(), "unet_tiny": TINY}.items():
        if options.tiny and name != "unet_tiny":
            continue
        denoiser, expected = load_denoiser(_state(name), config), load_file(GOLDEN / f"{name}.safetensors")
        for (path, precision), bound in BOUNDS.items():
            if precision not in precisions(device):
                continue
            with gpu_arithmetic(device, DTYPES[precision]):  # as in a job
                error, is_same = _compare(path, precision, denoiser, expected, device)
            is_right &= error <= bound and is_same
            place = "" if is_same else "; DEPENDS ON ITS PLACE IN A BATCH"
            sys.stdout.write(f"{name:<10} {path:<10} {precision}  {error:.1e}, at most {bound:.0e}{place}\n")
            sys.stdout.flush()
    return 0 if is_right else 1


def _state(name: str) -> dict[str, Tensor]:
    lines = (line.split("\t") for line in (GOLDEN / f"{name}.keys.tsv").read_text().splitlines())
    return {key: fill(key, tuple(map(int, shape.split("x"))) if shape else ()) for key, shape in lines}


@torch.inference_mode()
def _compare(
    path: str, precision: str, denoiser: Denoiser, expected: dict[str, Tensor], device: torch.device
) -> tuple[float, bool]:
    """Predict each sample by itself; guidance 1 is the condition only, guidance 0 the other branch only.

    Returns:
        The largest difference over the largest value, and whether the last sample is the same anywhere in a batch.
    """
    count = len(expected["sample"])
    times = [int(time) for time in expected["timesteps"].expand(count)]
    predicts: dict[float, PlainPrediction | FastPrediction] = {}
    outputs = []
    for sample, time, ids in zip(expected["sample"], times, expected["input_ids"], strict=True):
        guidance = float(int(ids[0]) < denoiser.config.categories // 2)
        if guidance not in predicts:
            dtype = DTYPES[precision]
            if path == "fast":
                predicts[guidance] = FastPrediction(denoiser, sorted(set(times)), guidance, dtype, device)
            else:  # moves the model that it is given
                predicts[guidance] = PlainPrediction(copy.deepcopy(denoiser), guidance, dtype, device)
        outputs.append(predicts[guidance](sample[None].to(device), time).cpu()[0])
    noise = torch.stack(outputs)
    error = float((noise - expected["noise_pred"]).abs().max() / expected["noise_pred"].abs().max())
    size = best_batch_size(denoiser.config, device)
    if size == 1:
        return error, True
    others = torch.randn(size - 1, *sample.shape)
    batches = torch.cat([sample[None], others]), torch.cat([others.flip(0), sample[None]])
    first, last = (predicts[guidance](batch.to(device), time).cpu() for batch in batches)
    return error, torch.equal(first[0], last[-1])


if __name__ == "__main__":
    sys.exit(main())
