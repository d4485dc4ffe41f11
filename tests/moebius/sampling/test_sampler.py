import pytest
import torch
from diffusers import DPMSolverMultistepScheduler

from moebius import load_denoiser
from moebius.sampling.sampler import ddim_sample, sampling_loop
from moebius.sampling.schedule import BETA_END, BETA_START, alphas_cumprod, ddim_timesteps
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


def test_dpm_steps_equal_those_of_diffusers():
    timesteps = ddim_timesteps(10, 0.99)
    theirs = DPMSolverMultistepScheduler(
        beta_start=BETA_START, beta_end=BETA_END, beta_schedule="scaled_linear", final_sigmas_type="zero"
    )
    theirs.set_timesteps(timesteps=timesteps)
    given = golden("ddim_tiny")
    latents, mask, masked = given["latents"], given["mask"], given["masked_latents"]

    def predict(inputs, timestep):  # any function of latents and time
        return torch.tanh(inputs[:, :4] * 0.7 + timestep / 1000)

    ours = sampling_loop(predict, latents, mask, masked, steps=10, strength=0.99, noise=given["noise"], solver="dpm++")
    alpha = alphas_cumprod()[timesteps[0]]
    current = alpha.sqrt() * latents + (1 - alpha).sqrt() * given["noise"]
    for timestep in timesteps:
        current = theirs.step(predict(current, timestep), timestep, current).prev_sample
    assert relative_error(ours, current) <= 1e-4
