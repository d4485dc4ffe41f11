import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import torch

from moebius import Inpainter, load_denoiser
from moebius.autoencoder.vae import decode
from moebius.fast.autoencoder import optimize_autoencoder
from moebius.fast.gpu_arithmetic import gpu_arithmetic
from moebius.fast.sampling import FastPrediction
from moebius.inference.settings import InpaintSettings
from moebius.sampling.sampler import PlainPrediction, ddim_sample, sampling_loop
from moebius.sampling.schedule import ddim_timesteps
from moebius.weights.untrained import untrained_vae
from tests.conftest import ROOT, TINY_GOLDEN, golden, relative_error, textured

CPU = torch.device("cpu")


def sample(predict, given, steps):
    latents, mask, masked_latents = given["latents"], given["mask"], given["masked_latents"]
    return sampling_loop(predict, latents, mask, masked_latents, steps=steps, strength=1.0, noise=given["noise"])


def test_fast_sampling_loop_equals_published_code(tiny_golden_state):
    expected = golden("ddim_tiny_strength1")
    guidance = float(expected["guidance_scale"])
    denoiser = load_denoiser(tiny_golden_state, TINY_GOLDEN)
    final = sample(FastPrediction(denoiser, ddim_timesteps(10, 1.0), guidance, torch.float32, CPU), expected, 10)
    assert relative_error(final, expected["final"]) <= 1e-4


def test_without_guidance_half_of_the_work_gives_the_same(tiny_golden_state):
    given = golden("ddim_tiny_strength1")
    denoiser = load_denoiser(tiny_golden_state, TINY_GOLDEN)
    predict = FastPrediction(denoiser, ddim_timesteps(2, 1.0), 1.0, torch.float32, CPU)
    calls = []
    predict.model.register_forward_pre_hook(lambda module, _, named: calls.append(named["branches"]), with_kwargs=True)
    final = sample(predict, given, 2)
    assert calls == [1, 1]
    plain = ddim_sample(
        denoiser,
        given["latents"],
        given["mask"],
        given["masked_latents"],
        steps=2,
        guidance=1.0,
        strength=1.0,
        noise=given["noise"],
    )
    assert relative_error(final, plain) <= 1e-4


def test_inpainter_takes_the_faster_one_unless_told_otherwise(tiny_weights):
    settings = {"steps": 2, "batch_size": 2}
    fast = Inpainter.from_pretrained(str(tiny_weights), InpaintSettings(**settings))
    plain = Inpainter.from_pretrained(str(tiny_weights), InpaintSettings(**settings, fast=False))
    assert isinstance(fast.model.predict, FastPrediction) and isinstance(plain.model.predict, PlainPrediction)
    photos = [textured(70, 90, seed) for seed in (1, 2)]
    masks = [np.zeros((70, 90), bool) for _ in photos]
    for mask in masks:
        mask[20:40, 30:60] = True
    both, alone = fast(photos, masks, [1, 2]), fast(photos[1:], masks[1:], [2])
    assert np.array_equal(both[1], alone[0])  # whatever its neighbour
    for ours, theirs in zip(both, plain(photos, masks, [1, 2]), strict=True):
        assert np.abs(ours.astype(int) - theirs).max() <= 1


@torch.no_grad()
def test_pictures_of_a_run_in_bfloat16_are_within_two_grey_levels_of_the_published_code(tiny_golden_state):
    given = golden("ddim_tiny")
    denoiser = load_denoiser(tiny_golden_state, TINY_GOLDEN)
    torch.manual_seed(0)
    vae, scale = untrained_vae(), given["final"].std()
    expected = to_grey_levels(vae, given["final"] / scale)
    timesteps = ddim_timesteps(20, 0.99)
    predict = FastPrediction(denoiser, timesteps, float(given["guidance_scale"]), torch.bfloat16, CPU)
    latents = [given[name] for name in ("latents", "mask", "masked_latents")]
    final = sampling_loop(predict, *latents, steps=20, strength=0.99, noise=given["noise"])
    pictures = to_grey_levels(optimize_autoencoder(vae, torch.bfloat16, CPU).bfloat16(), final / scale)
    assert expected.std() > 20 and (pictures - expected).abs().mean() <= 2


def to_grey_levels(vae, latents):
    return (decode(vae, latents) / 2 + 0.5).clamp(0, 1) * 255


@pytest.mark.parametrize("kind", [PlainPrediction, FastPrediction])
@torch.no_grad()
def test_outside_its_interval_guidance_leaves_the_condition_alone(tiny_golden_state, kind):
    inputs = golden("ddim_tiny")
    inputs = torch.cat([inputs["latents"], inputs["mask"], inputs["masked_latents"]], dim=1)
    timesteps = ([300, 500, 700],) if kind is FastPrediction else ()
    load = partial(load_denoiser, tiny_golden_state, TINY_GOLDEN)
    inside = kind(load(), *timesteps, 3.0, torch.float32, CPU, (400, 600))
    condition, guided = (kind(load(), *timesteps, scale, torch.float32, CPU) for scale in (1.0, 3.0))
    for timestep, expected in ((300, condition), (500, guided), (700, condition)):
        assert relative_error(inside(inputs, timestep), expected(inputs, timestep)) <= 1e-5
    assert relative_error(guided(inputs, 300), condition(inputs, 300)) > 1e-2


SWITCHES = """
import torch
from moebius.fast.gpu_arithmetic import gpu_arithmetic

gpu, products, convolutions = torch.device("cuda"), torch.backends.cuda.matmul, torch.backends.cudnn
read = lambda: (products.fp32_precision, convolutions.conv.fp32_precision) if {newer} else (
    products.allow_tf32, convolutions.allow_tf32
)
{setting}
before = read(), convolutions.deterministic, convolutions.benchmark
for dtype, precision in ((torch.bfloat16, "tf32"), (torch.float32, "ieee")):
    with gpu_arithmetic(gpu, dtype):
        torch.nn.functional.conv2d(torch.ones(1, 1, 3, 3), torch.ones(1, 1, 3, 3)) @ torch.ones(1, 1)
        assert convolutions.deterministic and not convolutions.benchmark
        assert (products.fp32_precision, convolutions.conv.fp32_precision) == (precision, precision)
    assert (read(), convolutions.deterministic, convolutions.benchmark) == before
"""


@pytest.mark.parametrize(
    ("newer", "setting"),
    [
        (False, ""),
        (False, "convolutions.benchmark = products.allow_tf32 = True"),
        (False, "convolutions.allow_tf32 = False"),
        (True, "products.fp32_precision = 'tf32'"),
        (True, "convolutions.conv.fp32_precision = 'ieee'"),
    ],
)
def test_how_a_gpu_multiplies_is_chosen_by_the_type_and_left_as_it_was(newer, setting):
    """In a process of its own: what one sets by PyTorch's newer switches cannot be read by its older ones any more."""
    code = SWITCHES.format(newer=newer, setting=setting)
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_on_a_cpu_nothing_is_set():
    with gpu_arithmetic(CPU, torch.float32):
        assert torch.backends.cudnn.deterministic is False
