import pytest
import torch
from torch.nn import functional

from moebius.checkpoint import CheckpointError, write_state_dict
from moebius.train.losses.efficientnet_lite import (
    LiteFeatures,
    SameConv,
    feature_distances,
    load_lite_features,
    statistics_distances,
    trunk_state,
)


@pytest.fixture
def features():
    torch.manual_seed(0)
    return LiteFeatures().eval()


def test_maps_have_the_sizes_of_the_published_network(features):
    shapes = [tuple(m.shape) for m in features(torch.zeros(2, 3, 64, 64))]
    assert shapes == [(2, 32, 32, 32), (2, 16, 32, 32), (2, 24, 16, 16), (2, 40, 8, 8), (2, 112, 4, 4)]
    counts = [parameter.numel() for name, parameter in features.named_parameters() if "conv" in name]
    assert sum(counts) == 684_608  # of the same entries in the published file


def test_strided_convolutions_are_padded_at_the_bottom_and_right_first():
    conv = SameConv(1, 1, 3, stride=2)
    image = torch.randn(1, 1, 6, 8)
    expected = functional.conv2d(functional.pad(image, (0, 1, 0, 1)), conv.weight, stride=2)
    assert torch.equal(conv(image), expected)


def test_weights_with_more_entries_load_and_others_are_refused(features, tmp_path):
    whole = features.state_dict() | {"_fc.bias": torch.zeros(3)}
    write_state_dict(whole, tmp_path / "lite.safetensors")
    loaded = load_lite_features(tmp_path / "lite.safetensors")
    images = torch.rand(1, 3, 32, 32)
    assert all(torch.equal(a, b) for a, b in zip(features(images), loaded(images), strict=True))
    assert not any(p.requires_grad for p in loaded.parameters())
    with pytest.raises(CheckpointError, match=r"entries missing, _blocks\.0"):
        trunk_state({"_fc.bias": torch.zeros(3)})


def test_features_differ_only_by_what_lies_in_the_hole():
    ours = [torch.randn(2, 4, 8, 8), torch.randn(2, 6, 4, 4)]
    theirs = [m.clone() for m in ours]
    theirs[0][:, :, :4] *= -1
    holes = torch.zeros(2, 1, 16, 16)
    holes[0, :, :8] = 1
    holes[1, :, 8:] = 1
    distances = feature_distances(ours, theirs, holes)
    torch.testing.assert_close(distances, torch.tensor([4.0, 0.0]))  # opposite unit vectors


def test_statistics_ignore_where_features_are_and_see_what_they_are():
    ours = [torch.randn(2, 4, 8, 8)]
    mirrored = [ours[0].flip(-1)]
    assert statistics_distances(ours, mirrored).max() < 1e-5
    blurred = [functional.avg_pool2d(ours[0], 3, 1, 1)]
    assert statistics_distances(blurred, ours).min() > 0.3
    flat = torch.zeros(1, 4, 8, 8, requires_grad=True)
    statistics_distances([flat], [ours[0][:1]]).sum().backward()
    assert flat.grad is not None and flat.grad.isfinite().all()


def test_statistics_of_a_hole_are_those_of_its_positions_over_the_spread_of_the_whole_map():
    theirs, ours = torch.randn(2, 1, 4, 8, 8)
    holes = torch.zeros(1, 1, 16, 16)
    holes[..., :8, :] = 1
    means = (ours[..., :4, :].mean(dim=(2, 3)) - theirs[..., :4, :].mean(dim=(2, 3))).abs()
    deviations = (_deviation(ours[..., :4, :]) - _deviation(theirs[..., :4, :])).abs()
    expected = (means + deviations).mean(dim=1) / _deviation(theirs).mean(dim=1)
    torch.testing.assert_close(statistics_distances([ours], [theirs], holes), expected, rtol=1e-4, atol=1e-4)


def _deviation(features):
    return features.std(dim=(2, 3), unbiased=False)
