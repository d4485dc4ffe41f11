"""The kernels for GPUs: interpreted on the CPU (see ``tests/conftest.py``), compiled for a GPU that is not there."""

import copy
import importlib
import os
import subprocess
import sys
from importlib.util import find_spec

import pytest
import torch
from torch import nn

from moebius.autoencoder.kl import KlAutoencoder, KlAutoencoderConfig
from moebius.autoencoder.kl_layers import Downsample, ResnetBlock, Upsample
from moebius.fast.blocks import FoldedResidualBlock, FoldedSeparableConv, FoldedTransformer
from moebius.fast.denoiser import FastDenoiser
from moebius.fast.fold import ChannelsLastConv
from moebius.fast.local_lambda import TiledLocalLambda
from moebius.network.blocks import DepthwiseSeparableConv, LambdaTransformer, ResidualBlock
from moebius.network.config import MoebiusConfig
from moebius.network.denoiser import Denoiser
from moebius.sampling.sampler import CONDITION_IDS, UNCONDITIONAL_IDS
from moebius.weights.untrained import randomise
from tests.conftest import relative_error

pytestmark = pytest.mark.skipif(find_spec("triton") is None, reason="Triton has wheels for Linux alone")


@pytest.fixture(scope="module")
def kernels():
    """The modules with kernels, which import Triton."""
    names = ("autoencoder", "denoiser", "depthwise", "group_norm", "sums")
    return {name: importlib.import_module(f"moebius.fast.gpu.{name}") for name in names}


def randomised(model: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    randomise(model)
    return model


def fused(kernels, model: nn.Module) -> nn.Module:
    parent = nn.ModuleList([copy.deepcopy(model)])
    kernels["denoiser"].fuse(parent)
    assert type(parent[0]) is not type(model)
    return parent[0]


@pytest.mark.parametrize("size", [(18, 17), (5, 36)], ids=str)
@pytest.mark.parametrize("widths", [(32, 32), (32, 96)], ids=["with identity", "without"])
@torch.no_grad()
def test_separable_convolution_of_no_whole_tiles(kernels, widths, size):
    conv, norm = DepthwiseSeparableConv(*widths), nn.GroupNorm(32, widths[0])
    plain = FoldedSeparableConv(randomised(conv), randomised(norm))
    features = torch.randn(2, *size, widths[0])
    bias = None if plain.has_identity else torch.randn(widths[1])
    assert relative_error(fused(kernels, plain)(features, bias), plain(features, bias)) <= 1e-5


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("widths", [(32, 32), (64, 32)], ids=["without a shortcut", "with one"])
@torch.no_grad()
def test_residual_block(kernels, widths, dtype):
    plain = FoldedResidualBlock(randomised(ResidualBlock(*widths, time_width=8)))
    for layer in (plain.conv_out.depthwise, plain.conv_out.pointwise):  # a shortcut stays as it is
        layer.to(dtype)
    features, bias = torch.randn(1, 9, 7, widths[0]), torch.randn(widths[1])
    ours, theirs = (block(features.clone(), bias) for block in (fused(kernels, plain), plain))
    assert ours.dtype == theirs.dtype == torch.float32
    assert relative_error(ours, theirs) <= (1e-4 if dtype == torch.float32 else 1e-2)


@pytest.mark.parametrize("rows", [1, 2], ids=["where branches part", "after that"])
@pytest.mark.parametrize(
    ("heads", "side", "dtype"),
    [(4, 8, torch.bfloat16), (1, 8, torch.float32), (1, 8, torch.float16), (1, 6, torch.float16)],
    ids=["narrow heads in bfloat16", "tiles of 4 in float32", "tiles of 4", "tiles of 2"],
)
@torch.no_grad()
def test_transformer(kernels, heads, side, dtype, rows):
    config = MoebiusConfig(heads=heads, context_width=16)
    contexts = torch.randn(2, config.categories // 2, config.context_width)
    plain = FoldedTransformer(randomised(LambdaTransformer(32, side * side, config)), side, contexts)
    assert isinstance(plain.local, TiledLocalLambda) == (heads == 1)
    for layer in (plain.project_in, plain.local, plain.feed_forward, plain.project_out):
        layer.to(dtype)  # but for Interactive-λ: interpreted, there are no products in bfloat16
    features = torch.randn(rows, side, side, 32)
    ours, theirs = (block(features.clone(), 1, 2) for block in (fused(kernels, plain), plain))
    assert ours.shape == theirs.shape == (2, side, side, 32) and ours.dtype == theirs.dtype == torch.float32
    assert relative_error(ours, theirs) <= (1e-5 if dtype == torch.float32 else 2e-2)


@pytest.mark.slow
@torch.no_grad()
def test_whole_denoiser_in_float16(kernels):
    config = MoebiusConfig((32, 64), heads=2, image_size=64, category_width=8, context_width=16)
    model = randomised(Denoiser(config).eval())
    inputs, predictions = torch.randn(1, 9, 8, 8), []
    for dtype in (torch.float32, torch.float16, torch.float16):
        fast = FastDenoiser(model, (CONDITION_IDS, UNCONDITIONAL_IDS))
        biases = fast.time_biases([500])[0]
        fast.lower(dtype)
        if len(predictions) == 2:
            kernels["denoiser"].fuse(fast)
            assert any(type(module).__name__ == "FusedUpsample" for module in fast.modules())
        predictions.append(fast(inputs, biases, 2))
    exact, plain, ours = predictions
    assert relative_error(plain, exact) <= 5e-3 and relative_error(ours, exact) <= 5e-3
    assert relative_error(ours, exact) <= 2 * relative_error(plain, exact) > 1e-5


@pytest.mark.parametrize("has_resampling", [False, True], ids=["without its resampling", "with it"])
@torch.no_grad()
def test_autoencoder(kernels, has_resampling):
    plain = KlAutoencoder(KlAutoencoderConfig((32, 64)))
    randomised(plain)
    ours = copy.deepcopy(plain)
    kernels["autoencoder"].fuse(ours)
    if has_resampling:
        kernels["autoencoder"].fuse_resampling(ours)
    kinds = {type(module) for module in ours.modules()}
    assert ResnetBlock not in kinds and (Upsample in kinds) == (Downsample in kinds) == (not has_resampling)
    pictures = torch.randn(1, 3, 8, 8)
    latents = plain.encode(pictures).latent_dist.mean
    assert relative_error(ours.encode(pictures).latent_dist.mean, latents) <= 1e-4
    assert relative_error(ours.decode(latents).sample, plain.decode(latents).sample) <= 1e-4


@torch.no_grad()
def test_bfloat16_rounds_what_is_stored_and_nothing_else(kernels):
    features, bias = torch.randn(1, 8, 8, 32), torch.randn(32)
    conv = ChannelsLastConv(torch.randn(32, 1, 3, 3).bfloat16().float(), bias.bfloat16().float(), groups=32)
    exact_taps, rounded = kernels["depthwise"].Taps(conv), features.bfloat16()
    taps = copy.deepcopy(exact_taps).bfloat16()
    norms, depthwise, sums = kernels["group_norm"], kernels["depthwise"], kernels["sums"]
    terms = norms.group_terms(rounded, 32, 1e-5)
    pairs = (
        [(norms.normed(rounded, *terms, dtype, has_silu=True)) for dtype in (torch.bfloat16, torch.float32)],
        [
            depthwise.norm_silu_depthwise(rounded, *terms, taps, bias, dtype, True)[0]
            for dtype in (torch.bfloat16, torch.float32)
        ],
        [
            depthwise.gated_depthwise(rounded, rounded.flip(1), taps, taps),
            depthwise.gated_depthwise(rounded.float(), rounded.float().flip(1), exact_taps, exact_taps),
        ],
        [sums.add_and_norm(features.clone(), rounded, 1e-5, dtype)[1] for dtype in (torch.bfloat16, torch.float32)],
        [
            sums.summed(rounded, rounded, bias.bfloat16()),
            sums.summed(rounded.float(), rounded.float(), bias.bfloat16()),
        ],
    )
    for ours, exact in pairs:
        assert ours.dtype == torch.bfloat16 and torch.allclose(
            ours.float(), exact.float(), rtol=2**-7, atol=1e-5
        )  # interpreted, it is cut off


@pytest.mark.slow
def test_kernels_compile_for_gpus():
    """In a process of its own: this one interprets."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [sys.executable, "-m", "tests.moebius.fast.compile_kernels"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len({line.split()[0] for line in lines}) == 16  # every kernel
