import copy

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from torch import nn

import moebius.fast.autoencoder
import moebius.vae
from moebius import Inpainter
from moebius.fast.autoencoder import arrange_vae
from moebius.fast.upsample import FoldedUpsample
from moebius.fast.winograd import WinogradConv
from moebius.settings import InpaintSettings
from moebius.vae import decode, encode, untrained_vae
from tests.conftest import relative_error, textured

CPU = torch.device("cpu")


def pass_through(vae: AutoencoderKL) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(2, 3, 48, 64, generator=generator) * 2 - 1
    latents = encode(vae, images, torch.randn(2, 4, 6, 8, generator=generator))
    return latents, decode(vae, latents)


@torch.no_grad()
def test_arranged_autoencoder_equals_the_plain_one(monkeypatch):
    monkeypatch.setattr(moebius.fast.autoencoder, "LEAST_WINOGRAD_CHANNELS", 16)
    plain = untrained_vae()
    fast = arrange_vae(copy.deepcopy(plain), torch.float32, CPU)
    kinds = [type(module) for module in fast.modules()]
    assert WinogradConv in kinds and kinds.count(FoldedUpsample) == 3
    for ours, theirs in zip(pass_through(fast), pass_through(plain), strict=True):
        assert relative_error(ours, theirs) <= 1e-4


@torch.no_grad()
def test_arranged_autoencoder_in_bfloat16_is_about_as_near_as_the_plain_one():
    torch.manual_seed(0)
    truth = pass_through(untrained := untrained_vae())
    plain = pass_through(copy.deepcopy(untrained).bfloat16())
    fast = pass_through(arrange_vae(copy.deepcopy(untrained), torch.bfloat16, CPU).bfloat16())
    for ours, theirs, expected in zip(fast, plain, truth, strict=True):
        assert relative_error(ours, expected) <= 2 * relative_error(theirs, expected)  # more sums, each rounded


@pytest.mark.parametrize("size", [(2, 2), (7, 10), (33, 64)])
@torch.no_grad()
def test_winograd_equals_the_convolution_at_any_size(size):
    conv = nn.Conv2d(5, 3, 3, padding=1)
    features = torch.randn(2, 5, *size)
    assert relative_error(WinogradConv(conv)(features), conv(features)) <= 1e-5


def test_at_strength_one_the_original_is_not_encoded(tiny_weights, monkeypatch):
    encoded = []
    monkeypatch.setattr(
        moebius.vae, "encode", lambda vae, images, *rest: encoded.append(len(images)) or encode(vae, images, *rest)
    )
    photo, mask = textured(64, 64), np.zeros((64, 64), bool)
    mask[20:40, 20:40] = True
    for strength in (1.0, 0.99):
        settings = InpaintSettings(steps=2, strength=strength, batch_size=1)
        Inpainter.from_pretrained(str(tiny_weights), settings)([photo], [mask], [0])
    assert encoded == [1, 2]
