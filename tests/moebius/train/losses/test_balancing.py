import pytest
import torch

from moebius import load_denoiser
from moebius.sampling.schedule import alphas_cumprod
from moebius.train.data.batches import NoisyBatch
from moebius.train.losses.balancing import DistillationLosses, balance, distillation_losses, gradient_norm
from moebius.train.tasks.distillation import Distillation, balancing_weights
from moebius.train.teacher import load_teacher
from tests.conftest import TINY_GOLDEN, golden, golden_state_dict


def _doubles(name: str) -> dict[str, torch.Tensor]:
    return {
        key: value.double() if value.is_floating_point() else value for key, value in golden_state_dict(name).items()
    }


def test_a_step_of_distillation_equals_the_published_code():
    expected = golden("distill_tiny")
    student = load_denoiser(_doubles("unet_tiny"), TINY_GOLDEN).train().requires_grad_(True)
    clean, noise, mask, masked = (expected[name].double() for name in ("latents", "noise", "mask", "masked_latents"))
    alphas = alphas_cumprod().double()[expected["timesteps"]]
    shaped = alphas.view(-1, 1, 1, 1)
    noisy = shaped.sqrt() * clean + (1 - shaped).sqrt() * noise
    inputs = torch.cat([noisy, mask, masked], dim=1)
    batch = NoisyBatch(inputs, expected["timesteps"], expected["input_ids"], noise, clean, alphas)
    distillation = Distillation(
        load_teacher(_doubles("teacher_tiny")), "published", lambda ours, true: (ours - true).abs().mean()
    )
    terms = distillation.losses(student, batch)
    terms["total"].backward()
    norms = [parameter.grad.norm() for parameter in student.parameters() if parameter.grad is not None]
    actual = {
        "loss_task": terms["task"],
        "loss_fine_kd": terms["fine"],
        "loss_coarse_kd": terms["coarse"],
        "loss_perceptual_l1x0": terms["perceptual"],
        "loss_total": terms["total"],
        "weight_task": terms["task_weight"],
        "weight_fine_kd": terms["fine_weight"],
        "weight_perceptual": terms["perceptual_weight"],
        "grad_norm": torch.stack(norms).norm(),
    }
    for name, value in actual.items():
        assert value.item() == pytest.approx(float(expected[name]), rel=1e-5), name


def test_the_balancing_of_the_paper_makes_gradient_norms_meet_at_the_layers():
    torch.manual_seed(0)
    feature_weight, output_weight = (torch.randn(3, 3, dtype=torch.float64, requires_grad=True) for _ in range(2))
    inputs = torch.randn(5, 3, dtype=torch.float64)
    features = inputs @ feature_weight
    outputs = features @ output_weight
    losses = DistillationLosses(
        task=outputs.square().mean(), fine=(outputs - 2).square().mean(), coarse=(features - inputs).square().mean()
    )
    balanced = balance(losses, output_weight, feature_weight, "paper")
    squared = gradient_norm(losses.task, output_weight) ** 2 / gradient_norm(losses.fine, output_weight) ** 2
    torch.testing.assert_close(balanced.fine_weight, squared)
    output = losses.task + squared * losses.fine
    squared = gradient_norm(losses.coarse, feature_weight) ** 2 / gradient_norm(output, feature_weight) ** 2
    torch.testing.assert_close(balanced.total, losses.coarse + squared * output)


def test_an_unknown_balancing_and_features_of_another_shape_are_refused():
    value = torch.zeros(())
    with pytest.raises(ValueError, match="published, paper"):
        balance(DistillationLosses(value, value, value), value, value, "none")
    noise = torch.zeros(1, 4, 8, 8)
    with pytest.raises(ValueError, match="one shape"):
        distillation_losses(noise, torch.zeros(1, 8, 2, 2), noise, torch.zeros(1, 9, 2, 2), noise)


def test_the_weights_that_balance_are_the_published_ones(tiny_golden_state):
    student = load_denoiser(tiny_golden_state, TINY_GOLDEN)
    output_weight, feature_weight = balancing_weights(student)
    assert output_weight is student.get_parameter("conv_out.pointwise.weight")
    assert torch.equal(feature_weight, tiny_golden_state["diff_model.down_blocks.2.attentions.1.proj_out.weight"])
