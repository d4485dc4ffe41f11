import pytest
import torch

from moebius import load_denoiser
from moebius.sampler import ddim_sample
from moebius.schedule import ddim_timesteps
from tests.conftest import TINY_GOLDEN, golden, relative_error


@pytest.mark.parametrize(("name", "steps", "strength"), [("ddim_tiny", 20, 0.99), ("ddim_tiny_strength1", 10, 1.0)])
def test_sampling_loop_equals_published_code(tiny_golden_state, name, steps, strength):
    expected = golden(name)
    assert ddim_timesteps(steps, strength) == expected["timesteps"].tolist()
    final = ddim_sample(
        load_denoiser(tiny_golden_state, TINY_GOLDEN),
        expected["latents"],
        expected["mask"],
        expected["masked_latents"],
        steps=steps,
        guidance=float(expected["guidance_scale"]),
        strength=strength,
        noise=expected["noise"],
    )
    assert relative_error(final, expected["final"]) <= 1e-5


def test_sampler_takes_any_callable():
    zeros = torch.zeros(1, 4, 8, 8)
    calls = []

    def predict(latents, timesteps, category_ids):
        calls.append((latents.shape, timesteps.tolist(), category_ids[0].tolist(), category_ids[1].tolist()))
        return torch.zeros_like(latents[:, :4])

    ddim_sample(predict, zeros, zeros[:, :1], zeros, steps=4, guidance=2.0, strength=1.0, noise=zeros)
    assert [times for _, times, _, _ in calls] == [[750], [500], [250], [0]]
    assert calls[0] == ((2, 9, 8, 8), [750], list(range(10)), list(range(10, 20)))


@pytest.mark.parametrize(("steps", "strength"), [(0, 1.0), (1001, 1.0), (20, 0.0), (20, 1.1), (10, 0.05)])
def test_impossible_schedule_is_an_error_that_names_the_value(steps, strength):
    with pytest.raises(ValueError, match="got"):
        ddim_timesteps(steps, strength)
