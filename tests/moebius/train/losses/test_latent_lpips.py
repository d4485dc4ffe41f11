import pytest
import torch
from torch.nn import functional

from moebius.checkpoint import CheckpointError
from moebius.train.losses.latent_lpips import load_latent_lpips

# Layer and width of the convolutions, slice by slice, as in the published file; batch norms have the number after.
CONVOLUTIONS = (
    {0: 64, 3: 64},
    {7: 128, 10: 128},
    {14: 256, 17: 256, 20: 256},
    {24: 512, 27: 512, 30: 512},
    {34: 512, 37: 512, 40: 512},
)


@pytest.fixture(scope="module")
def published():
    generator, state, width = torch.Generator().manual_seed(0), {}, 4
    for number, layers in enumerate(CONVOLUTIONS, start=1):
        for index, out in layers.items():
            convolution, norm = (f"net.slice{number}.{place}" for place in (index, index + 1))
            state[f"{convolution}.weight"] = torch.randn(out, width, 3, 3, generator=generator) / (3 * width**0.5)
            state[f"{convolution}.bias"] = torch.randn(out, generator=generator)
            for name in ("weight", "bias", "running_mean", "running_var"):
                state[f"{norm}.{name}"] = torch.rand(out, generator=generator) + 0.5
            state[f"{norm}.num_batches_tracked"] = torch.tensor(1)
            width = out
        state[f"lin{number - 1}.model.1.weight"] = torch.rand(1, width, 1, 1, generator=generator)
    return state


def by_hand(state, one, other):
    total = (one - other).abs().mean()
    for number, layers in enumerate(CONVOLUTIONS, start=1):
        pair = []
        for maps in (one, other):
            for index in layers:
                convolution, norm = (f"net.slice{number}.{place}" for place in (index, index + 1))
                maps = functional.conv2d(maps, state[f"{convolution}.weight"], state[f"{convolution}.bias"], padding=1)
                shape, parts = (1, -1, 1, 1), ("running_mean", "running_var", "weight", "bias")
                mean, variance, weight, bias = (state[f"{norm}.{part}"].view(shape) for part in parts)
                maps = ((maps - mean) / (variance + 1e-5).sqrt() * weight + bias).relu()
            pair.append(functional.max_pool2d(maps, 2) if number >= 4 else maps)
        one, other = pair
        units = [maps / maps.norm(dim=1, keepdim=True).clamp(min=1e-9) for maps in pair]
        head = state[f"lin{number - 1}.model.1.weight"].view(1, -1, 1, 1)
        total = total + ((units[0] - units[1]).square() * head).sum(dim=1).mean()
    return total


def test_distance_is_that_of_the_layers_by_hand_and_moves_the_predicted_latents(published, tmp_path):
    torch.save(published, tmp_path / "sd_latest_vgg16_tuned.pth")
    distance = load_latent_lpips(tmp_path / "sd_latest_vgg16_tuned.pth")
    student, true = torch.randn(2, 2, 4, 16, 16).unbind(0)
    student.requires_grad_(True)
    found = distance.in_float32(student, true)
    torch.testing.assert_close(found, by_hand(published, student, true))
    found.backward()
    assert student.grad is not None and student.grad.abs().sum() > 0
    assert float(distance(true, true)) == 0


def test_a_file_without_a_layer_is_refused(published, tmp_path):
    state = {name: value for name, value in published.items() if not name.startswith("lin3")}
    torch.save(state, tmp_path / "short.pth")
    with pytest.raises(CheckpointError, match=r"E-LatentLPIPS .*1 missing keys \(lin3\.model\.1\.weight\)$"):
        load_latent_lpips(tmp_path / "short.pth")


def test_a_file_of_another_autoencoder_is_refused(published, tmp_path):
    torch.save(published, tmp_path / "four.pth")
    with pytest.raises(CheckpointError, match=r"of 8 channels: .*is \(64, 4, 3, 3\), expected \(64, 8, 3, 3\)$"):
        load_latent_lpips(tmp_path / "four.pth", latent_channels=8)
