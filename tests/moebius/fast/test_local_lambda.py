import pytest
import torch
from torch import nn

from moebius.fast.local_lambda import DirectLocalLambda, TiledLocalLambda, fold_local
from moebius.network.config import MoebiusConfig
from moebius.network.lambda_layers import LocalLambda
from moebius.weights.untrained import randomise
from tests.conftest import relative_error

WAYS = {"direct": lambda norm, layer, side: DirectLocalLambda(norm, layer), "tiled": TiledLocalLambda}


def norm_and_layer(channels: int, heads: int, window: int) -> tuple[nn.LayerNorm, LocalLambda]:
    torch.manual_seed(channels + window)
    norm, layer = nn.LayerNorm(channels), LocalLambda(channels, heads, window)
    randomise(norm)
    randomise(layer)
    return norm, layer


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("channels", "heads", "window", "side"), [(32, 8, 7, 16), (96, 4, 15, 8), (48, 8, 5, 6)])
@torch.no_grad()
def test_either_way_equals_the_layer(way, channels, heads, window, side):
    norm, layer = norm_and_layer(channels, heads, window)
    features = torch.randn(3, side, side, channels)
    ours = WAYS[way](norm, layer, side)(features)
    expected = layer(norm(features).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    assert ours.shape == features.shape and relative_error(ours, expected) <= 1e-5


def test_narrow_heads_build_their_lambdas_and_wide_ones_do_not():
    published = MoebiusConfig()
    for channels, way in ((64, DirectLocalLambda), (published.channels[0], TiledLocalLambda)):
        assert isinstance(fold_local(*norm_and_layer(channels, published.heads, published.local_window), 16), way)
