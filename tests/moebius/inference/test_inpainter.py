import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch

import moebius.inference.window_inpainter
from moebius import Inpainter, InpaintSettings
from moebius.weights.files import find_weights
from tests.conftest import ROOT, textured

FAST = InpaintSettings(steps=2)


@pytest.fixture(scope="module")
def inpainter(tiny_weights):
    return Inpainter.from_pretrained(str(tiny_weights), FAST)


def hole(shape, rows, columns):
    mask = np.zeros(shape, bool)
    mask[rows, columns] = True
    return mask


CASES = {
    "smaller than the window": hole((20, 30), slice(5, 9), slice(5, 9)),
    "one pixel": np.ones((1, 1), bool),
    "wide": hole((40, 400), slice(0, 10), slice(300, 400)),
    "all masked": np.ones((70, 90), bool),
    "nothing masked": np.zeros((70, 90), bool),
    "large hole": hole((300, 200), slice(50, 250), slice(50, 150)),
}


@pytest.mark.parametrize("case", CASES)
def test_outside_the_mask_nothing_changes(inpainter, case):
    mask = CASES[case]
    image = textured(*mask.shape)
    (result,) = inpainter([image], [mask], [7])
    assert result.shape == image.shape and result.dtype == np.uint8
    assert np.array_equal(result[~mask], image[~mask])
    if mask.sum() > 1:
        assert not np.array_equal(result[mask], image[mask])


def test_result_does_not_depend_on_neighbours_nor_order(tiny_weights):
    inpainter = Inpainter.from_pretrained(str(tiny_weights), InpaintSettings(steps=2, batch_size=4))
    images = [textured(*mask.shape, seed) for seed, mask in enumerate(CASES.values())]
    masks, seeds = list(CASES.values()), list(range(len(CASES)))
    together = inpainter(images, masks, seeds)
    backwards = inpainter(images[::-1], masks[::-1], seeds[::-1])[::-1]
    for index, (image, mask) in enumerate(zip(images, masks, strict=True)):
        (alone,) = inpainter([image], [mask], [index])
        assert np.array_equal(together[index], alone)
        assert np.array_equal(together[index], backwards[index])


def test_batch_size_that_is_lowered_meanwhile_counts_from_the_next_batch_on(tiny_weights, monkeypatch):
    inpainter = Inpainter.from_pretrained(str(tiny_weights), InpaintSettings(steps=2, batch_size=4))
    window, mask = textured(64, 64), hole((64, 64), slice(20, 40), slice(20, 40))
    expected, noise = inpainter.generate([window], [mask], [1]), inpainter._noise

    def lowering(seed):
        inpainter.batch_size = 2
        return noise(seed)

    monkeypatch.setattr(inpainter, "_noise", lowering)
    assert np.array_equal(inpainter.generate([window], [mask], [1]), expected)


def test_whole_model_multiplies_as_its_precision_says(tiny_weights, monkeypatch):
    inside, calls = [], []

    @contextmanager
    def noted(*arguments):
        inside.append(arguments)
        yield
        inside.pop()

    inpainter = Inpainter.from_pretrained(str(tiny_weights), InpaintSettings(steps=2, precision="fp32"))
    predict, vae = inpainter.model.predict, moebius.inference.window_inpainter.autoencoder
    for holder, name in ((vae, "encode"), (vae, "decode"), (predict.model, "forward")):
        real = getattr(holder, name)
        monkeypatch.setattr(
            holder, name, lambda *given, real=real, **named: calls.append(inside[0]) or real(*given, **named)
        )
    monkeypatch.setattr(moebius.inference.window_inpainter, "gpu_arithmetic", noted)
    inpainter.generate([textured(64, 64)], [hole((64, 64), slice(20, 40), slice(20, 40))], [1])
    assert len(calls) == 3 and set(calls) == {(torch.device("cpu"), torch.float32)}


def test_what_exceeds_float16_is_computed_again_in_bfloat16_and_nothing_else(tiny_weights):
    inpainter = Inpainter.from_pretrained(str(tiny_weights), InpaintSettings(steps=2, batch_size=2))
    pictures, masks = (
        [textured(64, 64), textured(64, 64)[::-1].copy()],
        [hole((64, 64), slice(20, 40), slice(9, 40))] * 2,
    )
    expected, real, wider = inpainter.generate(pictures, masks, [1, 2]), inpainter.model.predict, []

    def overflowing(inputs, timestep):
        noise = real(inputs, timestep).clone()
        noise[0, 0, 0, 0] = torch.inf
        return noise

    def other(inputs, timestep):
        wider.append(timestep)
        return real(inputs, timestep).neg()

    inpainter.model = replace(inpainter.model, predict=overflowing)
    with pytest.raises(FloatingPointError):
        inpainter.generate(pictures, masks, [1, 2])
    inpainter._wider = lambda: other  # as on a GPU
    first, second = inpainter.generate(pictures, masks, [1, 2])
    assert wider and np.array_equal(second, expected[1])
    inpainter.model = replace(inpainter.model, predict=other)
    assert np.array_equal(first, inpainter.generate(pictures, masks, [1, 2])[0])


def test_float16_needs_a_gpu(tiny_weights):
    with pytest.raises(ValueError, match="fp16 needs a GPU"):
        Inpainter.from_pretrained(str(tiny_weights), InpaintSettings(precision="fp16"), device="cpu")


def test_result_agrees_across_batch_sizes(tiny_weights, inpainter):
    mask, image = CASES["wide"], textured(40, 400)
    larger = Inpainter.from_pretrained(str(tiny_weights), InpaintSettings(steps=2, batch_size=3))
    difference = np.abs(inpainter([image], [mask], [1])[0].astype(int) - larger([image], [mask], [1])[0])
    assert difference.max() <= 1


def test_seed_decides_the_result(inpainter):
    mask, image = CASES["large hole"], textured(300, 200)
    first, again, other = (inpainter([image], [mask], [seed])[0] for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_strength_of_one_call_is_that_of_settings(tiny_weights):
    window = textured(64, 64, 1), np.pad(np.ones((24, 24), bool), 20)
    usual, other = (
        Inpainter.from_pretrained(str(tiny_weights), InpaintSettings(steps=4, strength=strength))
        for strength in (0.5, 1)
    )
    pictures = usual.generate([window[0]], [window[1]], [7], strength=1)
    assert np.array_equal(pictures, other.generate([window[0]], [window[1]], [7]))
    assert not np.array_equal(pictures, usual.generate([window[0]], [window[1]], [7]))


def test_not_finite_weights_are_an_error_not_a_picture(tiny_weights):
    denoiser, vae = find_weights(str(tiny_weights)).load()
    denoiser.norm_out.weight[0] = float("nan")
    with pytest.raises(FloatingPointError):
        Inpainter(denoiser, vae, FAST)([textured(64, 64)], [hole((64, 64), slice(0, 9), slice(0, 9))], [0])


def test_wrong_shapes_are_named(inpainter):
    with pytest.raises(ValueError, match=r"mask must be \(8, 9\) bool"):
        inpainter([textured(8, 9)], [np.zeros((9, 8), bool)], [0])
    with pytest.raises(ValueError, match=r"a photo must be uint8 of shape .*got float64 \(8, 9, 3\)"):
        inpainter([textured(8, 9) / 255], [np.zeros((8, 9), bool)], [0])
    with pytest.raises(ValueError, match="got 1 images, 0 masks"):
        inpainter([textured(8, 9)], [], [0])


def test_settings_out_of_range_are_named():
    for wrong in ({"steps": 0}, {"precision": "fp8"}, {"batch_size": 0}, {"context": 0.5}, {"max_upscale": 0.1}):
        with pytest.raises(ValueError, match="got"):
            InpaintSettings(**wrong)


def run_without(code: str, banned: set[str]) -> None:
    """Run code in a process of its own, which fails if any of these modules was imported by its end."""
    check = f"import sys; sys.exit(sorted({banned!r} & sys.modules.keys()) or 0)"
    subprocess.run([sys.executable, "-c", f"{code}\n{check}"], cwd=ROOT, check=True)


def test_moebius_imports_nothing_of_the_cluster():
    run_without("import moebius, moebius.weights", {"ray", "pyarrow", "fsspec", "omegaconf", "pipeline", "jobs"})


def test_loading_a_small_model_imports_neither_diffusers_nor_pytorch_s_compiler():
    """Each takes a worker a second, and its memory."""
    run_without("import moebius; moebius.Inpainter.from_pretrained('nano')", {"diffusers", "torch._dynamo"})
