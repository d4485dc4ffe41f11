"""The C kernels for CPUs: compiled here, compared with PyTorch's layers, with tiles of AMX and without."""

import copy
import sys

import pytest
import torch
from torch import nn
from torch.nn import functional

from moebius.autoencoder.kl_layers import ResnetBlock
from moebius.fast import self_check
from moebius.fast.blocks import FoldedResidualBlock, FoldedSeparableConv, FoldedTransformer
from moebius.fast.cpu import autoencoder, compiled
from moebius.fast.cpu import denoiser as fused_layers
from moebius.fast.cpu import local_lambda as local_layers
from moebius.fast.cpu import product as products
from moebius.fast.cpu.depthwise import Taps, gated_depthwise, norm_silu_depthwise
from moebius.fast.cpu.group_norm import Norm, group_terms, normed
from moebius.fast.denoiser import FastDenoiser
from moebius.fast.fold import ChannelsLastConv, Linear
from moebius.fast.vae_layers import Resnet
from moebius.network.blocks import DepthwiseSeparableConv, LambdaTransformer, ResidualBlock
from moebius.network.config import MoebiusConfig
from moebius.network.denoiser import Denoiser
from moebius.sampling.sampler import CONDITION_IDS, UNCONDITIONAL_IDS
from moebius.weights.untrained import randomise
from tests.conftest import relative_error

CPU = torch.device("cpu")


def _can_compile() -> bool:
    try:
        compiled.kernels()
    except OSError:
        return False
    return sys.platform == "linux"


pytestmark = pytest.mark.skipif(not _can_compile(), reason="needs Linux and a C compiler")


@pytest.fixture(params=["with tiles", "without"])
def tiles(request, monkeypatch):
    """Once as on a core with AMX, once as on all others."""
    if request.param == "without":
        for module in (products, local_layers, fused_layers):
            monkeypatch.setattr(module, "has_tiles", lambda: False)
    elif not products.has_tiles():
        pytest.skip("this core has no tiles")


@pytest.fixture(params=[1, 3], ids=["one thread", "three"])
def threads(request, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: request.param)


def randomised(model: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    randomise(model)
    return model


def fused(model: nn.Module) -> nn.Module:
    parent = nn.ModuleList([copy.deepcopy(model)])
    fused_layers.fuse(parent)
    assert type(parent[0]) is not type(model)
    return parent[0]


@pytest.mark.parametrize(("dtype", "is_exact", "bound"), [
    (torch.float32, True, 5e-7), (torch.float32, False, 2e-5), (torch.bfloat16, False, 1e-2),
], ids=["exact", "to 16 bits", "bfloat16"])  # fmt: skip
@pytest.mark.parametrize(("rows", "inputs", "outputs"), [(1, 5, 3), (33, 40, 31), (700, 96, 130)], ids=str)
@torch.no_grad()
def test_product_of_no_whole_tiles(tiles, threads, rows, inputs, outputs, dtype, is_exact, bound):
    torch.manual_seed(0)
    layer = Linear(torch.randn(outputs, inputs).to(dtype), torch.randn(outputs).to(dtype))
    layer.is_exact = is_exact
    product = products.Product(layer)
    features, there, other = torch.randn(1, rows, inputs), torch.randn(1, rows, outputs), torch.randn(outputs)
    weight = layer.weight.double()
    exact = functional.linear(features.double(), weight, layer.bias.double())
    assert relative_error(product(features), exact) <= bound
    assert (
        relative_error(product(features, other), functional.linear(features.double(), weight, other.double())) <= bound
    )
    assert relative_error(product(features, into=there.clone()), exact + there) <= bound
    norm = Norm(eps=1e-5)
    rows_normed = functional.layer_norm(features.double(), (inputs,), eps=1e-5)
    assert (
        relative_error(product(features, norm=norm), functional.linear(rows_normed, weight, layer.bias.double()))
        <= 2 * bound
    )
    low = product(features.bfloat16(), dtype=torch.bfloat16)
    assert low.dtype == torch.bfloat16 and relative_error(low.double(), exact) <= 2e-2


@torch.no_grad()
def test_rows_of_a_product_depend_on_themselves_alone(monkeypatch):
    if not products.has_tiles():
        pytest.skip("this core has no tiles, a library multiplies")
    torch.manual_seed(0)
    product = products.Product(Linear(torch.randn(64, 320), None))
    features = torch.randn(5000, 320)
    whole = product(features)
    assert torch.equal(product(features[1234:1300]), whole[1234:1300])
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert torch.equal(product(features), whole)


@torch.no_grad()
def test_layers_named_precise_are_exact_in_float32_and_of_two_parts_beside_bfloat16(monkeypatch):
    monkeypatch.setattr(products, "tiled", lambda weight, parts: torch.full((1,), parts))
    monkeypatch.setattr(local_layers, "tiled", products.tiled)
    monkeypatch.setattr(products, "has_tiles", lambda: True)
    monkeypatch.setattr(local_layers, "has_tiles", lambda: True)
    monkeypatch.setattr(fused_layers, "has_tiles", lambda: True)
    for dtype, of_precise, of_others in ((torch.float32, 3, 2), (torch.bfloat16, 2, 1)):
        model = FastDenoiser(Denoiser(self_check.CONFIG), (CONDITION_IDS, UNCONDITIONAL_IDS)).lower(dtype)
        fused_layers.fuse(model)
        parts = {
            name: int(layer.weight) for name, layer in model.named_modules() if isinstance(layer, products.Product)
        }
        assert set(parts.values()) == {of_precise, of_others}
        for name, expected in {
            "down_levels.0.transformers.0.local.layer.project": of_precise,
            "down_levels.0.resample.linear": of_precise,
            "down_levels.0.transformers.0.expand": of_others,
            "up_levels.0.residuals.0.shortcut": of_precise,
            "up_levels.1.transformers.0.project_out": of_others,
        }.items():
            assert parts[name] == expected, name


@torch.no_grad()
def test_kernels_are_given_nothing_that_they_would_misread():
    product = products.Product(Linear(torch.randn(4, 33), torch.randn(4)))
    conv = ChannelsLastConv(torch.ones(3, 1, 3, 3), torch.zeros(3), groups=3)
    features = torch.randn(1, 2, 2, 3)
    if products.has_tiles():
        for wrong in (torch.randn(5, 40), torch.randn(5, 32)):
            with pytest.raises(ValueError, match="expected 33 channels"):
                product(wrong)
        with pytest.raises(ValueError, match="expected 4 outputs"):
            product(torch.randn(5, 33), into=torch.zeros(4, 4))
        with pytest.raises(ValueError, match="expected 4 outputs"):
            product(torch.randn(5, 33), torch.zeros(3))
        with pytest.raises(TypeError, match="float64"):
            product(torch.randn(5, 33).double())
        assert product(torch.empty(0, 33)).shape == (0, 4)
        with pytest.raises(TypeError, match="float32"):
            copy.deepcopy(product).float()(torch.randn(5, 33))
    with pytest.raises(ValueError, match="expected 3 channels"):
        norm_silu_depthwise(torch.randn(1, 2, 2, 4), None, Taps(conv), torch.float32, returns_input=False)
    with pytest.raises(ValueError, match="expected 6 channels"):
        gated_depthwise(torch.randn(1, 2, 2, 4), Taps(conv, conv))
    with pytest.raises(TypeError, match="strides"):
        norm_silu_depthwise(features.transpose(1, 2), None, Taps(conv), torch.float32, returns_input=False)
    with torch.enable_grad(), pytest.raises(TypeError, match="kernel cannot take"):
        normed(features.requires_grad_(), Norm(1e-5), torch.float32)


ROUNDING = {torch.float32: 1e-6, torch.bfloat16: 1e-2}


@pytest.mark.parametrize("dtype", ROUNDING, ids=str)
@pytest.mark.parametrize("channels", [1, 300])
@torch.no_grad()
def test_gated_depthwise(threads, channels, dtype):
    torch.manual_seed(0)
    convs = [ChannelsLastConv(torch.randn(channels, 1, 3, 3), torch.randn(channels), groups=channels) for _ in range(2)]
    features = torch.randn(2, 5, 7, 2 * channels).to(dtype)
    value, gate = (conv(functional.silu(half)) for conv, half in zip(convs, features.float().chunk(2, -1), strict=True))
    ours = gated_depthwise(features, Taps(*convs))
    assert ours.dtype == dtype
    assert relative_error(ours.float(), functional.silu(gate) * value) <= ROUNDING[dtype]


@pytest.mark.parametrize("dtype", ROUNDING, ids=str)
@pytest.mark.parametrize("channels", [32, 288])
@torch.no_grad()
def test_norm_silu_and_filters(threads, channels, dtype):
    torch.manual_seed(0)
    conv = ChannelsLastConv(torch.randn(channels, 1, 3, 3), torch.randn(channels), groups=channels)
    features, plain = 3 + torch.randn(2, 9, 11, channels), randomised(nn.GroupNorm(32, channels))
    norm = group_terms(features, plain.num_groups, plain.eps, plain.weight, plain.bias)
    around = functional.silu(plain(features.permute(0, 3, 1, 2))).permute(0, 2, 3, 1)
    ours, kept = norm_silu_depthwise(features, norm, Taps(conv), dtype, returns_input=True)
    assert ours.dtype == dtype and kept.dtype == torch.float32
    assert relative_error(kept, around) <= 1e-5
    assert relative_error(ours.float(), conv(around).relu()) <= max(ROUNDING[dtype], 1e-5)
    assert relative_error(normed(features, norm, dtype, has_silu=True).float(), around) <= max(ROUNDING[dtype], 1e-5)


@pytest.mark.parametrize("dtype", ROUNDING, ids=str)
@torch.no_grad()
def test_block_of_the_autoencoder(dtype):
    plain = nn.ModuleList([randomised(ResnetBlock(64, 96, groups=32))]).to(dtype)
    ours = nn.ModuleList([Resnet(copy.deepcopy(plain[0]))])
    autoencoder.fuse(ours)
    autoencoder.fuse(ours)  # again: nothing is left to do
    planes = torch.randn(2, 64, 10, 6, dtype=dtype)
    assert relative_error(ours[0](planes).float(), plain[0](planes).float()) <= max(ROUNDING[dtype], 1e-5)


@torch.no_grad()
def test_what_is_not_a_number_stays_none():
    """Or pictures of broken weights would look like others."""
    features = torch.full((1, 2, 2, 3), torch.nan)
    taps = Taps(ChannelsLastConv(torch.ones(3, 1, 3, 3), torch.zeros(3), groups=3))
    assert norm_silu_depthwise(features, None, taps, torch.float32, returns_input=False)[0].isnan().all()
    assert gated_depthwise(features.repeat(1, 1, 1, 2).bfloat16(), Taps(*[ChannelsLastConv(
        torch.ones(3, 1, 3, 3), torch.zeros(3), groups=3)] * 2)).isnan().all()  # fmt: skip
    for bits in (0x7FC00000, -1):  # what processors make, and what broken memory may hold
        broken = torch.full((1, 2, 2, 3), bits, dtype=torch.int32).view(torch.float32)
        assert products.Product(Linear(torch.ones(2, 3), None))(broken).isnan().all()
    terms = group_terms(torch.tensor([1.0, torch.inf, 2.0, 3.0]).view(1, 2, 2, 1), 1, 1e-5, None, None)
    assert terms.scale.isnan().all()


@pytest.mark.parametrize("size", [(18, 17), (5, 36)], ids=str)
@pytest.mark.parametrize("widths", [(32, 32), (32, 96)], ids=["with identity", "without"])
@torch.no_grad()
def test_separable_convolution(tiles, widths, size):
    plain = FoldedSeparableConv(randomised(DepthwiseSeparableConv(*widths)), randomised(nn.GroupNorm(32, widths[0])))
    features = torch.randn(2, *size, widths[0])
    bias = None if plain.has_identity else torch.randn(widths[1])
    assert relative_error(fused(plain)(features, bias), plain(features, bias)) <= 2e-5


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("widths", [(32, 32), (64, 32)], ids=["without a shortcut", "with one"])
@torch.no_grad()
def test_residual_block(tiles, widths, dtype):
    plain = FoldedResidualBlock(randomised(ResidualBlock(*widths, time_width=8)))
    for layer in (plain.conv_out.depthwise, plain.conv_out.pointwise):
        layer.to(dtype)
    features, bias = torch.randn(1, 9, 7, widths[0]), torch.randn(widths[1])
    ours, theirs = (block(features.clone(), bias) for block in (fused(plain), plain))
    assert ours.dtype == theirs.dtype == torch.float32
    assert relative_error(ours, theirs) <= (1e-4 if dtype == torch.float32 else 1e-2)


@pytest.mark.parametrize("rows", [1, 2], ids=["where branches part", "after that"])
@pytest.mark.parametrize(
    ("heads", "side", "dtype"),
    [
        (4, 8, torch.bfloat16),
        (1, 8, torch.float32),
        (1, 8, torch.bfloat16),
        (1, 6, torch.float32),
        (1, 5, torch.float32),
    ],
    ids=["narrow heads", "tiles of 4", "tiles of 4 in bfloat16", "tiles of 2", "tiles of 1"],
)
@torch.no_grad()
def test_transformer(tiles, threads, heads, side, dtype, rows):
    config = MoebiusConfig(heads=heads, context_width=16)
    contexts = torch.randn(2, config.categories // 2, config.context_width)
    plain = FoldedTransformer(randomised(LambdaTransformer(64, side * side, config)), side, contexts).to(dtype)
    features = torch.randn(rows, side, side, 64)
    ours, theirs = (block(features.clone(), 1, 2) for block in (fused(plain), plain))
    assert ours.shape == theirs.shape == (2, side, side, 64)
    assert relative_error(ours, theirs) <= (1e-4 if dtype == torch.float32 else 3e-2)


@torch.no_grad()
def test_convolution_of_stride_two():
    if not products.has_tiles():
        pytest.skip("this core has no tiles")
    plain = ChannelsLastConv(torch.randn(48, 32, 3, 3), torch.randn(48), stride=2)
    features = torch.randn(2, 8, 6, 32)
    assert relative_error(fused(plain)(features), plain(features)) <= 2e-5
