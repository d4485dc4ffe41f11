import copy

import numpy as np
import pytest
import torch
from torch import nn

import moebius.autoencoder.vae
import moebius.fast.attention
import moebius.fast.autoencoder
import moebius.fast.upsample
import moebius.fast.winograd
from moebius import Inpainter
from moebius.autoencoder.kl import KlAutoencoder, KlAutoencoderConfig
from moebius.autoencoder.kl_layers import Attention, ResnetBlock
from moebius.autoencoder.vae import decode, encode
from moebius.fast.attention import SingleHeadAttention
from moebius.fast.autoencoder import optimize_autoencoder
from moebius.fast.upsample import FoldedUpsample
from moebius.fast.winograd import WinogradConv
from moebius.inference.settings import InpaintSettings
from tests.conftest import relative_error, textured

CPU = torch.device("cpu")


def pass_through(vae: KlAutoencoder) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(2, 3, 48, 64, generator=generator) * 2 - 1
    latents = encode(vae, images, torch.randn(2, 4, 6, 8, generator=generator))
    return latents, decode(vae, latents)


def with_attention() -> KlAutoencoder:
    """The kind that is published: one head of attention between its halves; of factor 8."""
    config = KlAutoencoderConfig((16, 32, 32, 64), norm_num_groups=8, scaling_factor=1.0)
    return KlAutoencoder(config).eval().requires_grad_(False)


@torch.no_grad()
def test_optimized_autoencoder_equals_the_plain_one(monkeypatch):
    monkeypatch.setattr(moebius.fast.autoencoder, "MIN_WINOGRAD_CHANNELS", 16)
    # Small bands, so that a map has several and the last is a shorter one.
    monkeypatch.setattr(moebius.fast.attention, "BAND", 32)
    monkeypatch.setattr(moebius.fast.upsample, "BAND", 33)
    monkeypatch.setattr(moebius.fast.winograd, "BAND_TILES", 5)
    plain = with_attention()
    fast = optimize_autoencoder(copy.deepcopy(plain), torch.float32, CPU)
    kinds = [type(module) for module in fast.modules()]
    assert WinogradConv in kinds and kinds.count(FoldedUpsample) == 3 and kinds.count(SingleHeadAttention) == 2
    assert not any(isinstance(module, (ResnetBlock, Attention)) for module in fast.modules())
    for ours, theirs in zip(pass_through(fast), pass_through(plain), strict=True):
        assert relative_error(ours, theirs) <= 1e-4


@torch.no_grad()
def test_optimized_autoencoder_in_bfloat16_is_about_as_near_as_the_plain_one():
    torch.manual_seed(0)
    truth = pass_through(untrained := with_attention())
    plain = pass_through(copy.deepcopy(untrained).bfloat16())
    fast = pass_through(optimize_autoencoder(copy.deepcopy(untrained), torch.bfloat16, CPU).bfloat16())
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
        moebius.autoencoder.vae,
        "encode",
        lambda vae, images, *rest: encoded.append(len(images)) or encode(vae, images, *rest),
    )
    photo, mask = textured(64, 64), np.zeros((64, 64), bool)
    mask[20:40, 20:40] = True
    for strength in (1.0, 0.99):
        settings = InpaintSettings(steps=2, strength=strength, batch_size=1)
        Inpainter.from_pretrained(str(tiny_weights), settings)([photo], [mask], [0])
    assert encoded == [1, 2]
