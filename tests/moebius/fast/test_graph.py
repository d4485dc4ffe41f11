import pytest
import torch

from moebius.fast.graph import CapturedStep, captured


def test_without_a_gpu_a_step_stays_the_function_it_is():
    step = torch.nn.Linear(3, 2)
    assert captured(step, torch.device("cpu")) is step


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@torch.inference_mode()
def test_captured_step_equals_the_function_for_every_shape():
    layer = torch.nn.Linear(3, 2).cuda()
    step = CapturedStep(layer)
    for rows in (4, 5, 4):
        inputs = torch.randn(rows, 3, device="cuda")
        assert torch.equal(step(inputs), layer(inputs))
