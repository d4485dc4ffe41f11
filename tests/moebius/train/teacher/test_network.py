from dataclasses import replace

import pytest
import torch

from moebius.checkpoint import CheckpointError
from moebius.train.teacher.linear_attention import gated_linear_attention
from moebius.train.teacher.network import Teacher, load_teacher
from tests.conftest import GOLDEN, TINY_GOLDEN, golden, golden_state_dict, relative_error


def test_the_full_teacher_has_the_published_keys_shapes_and_parameters():
    with torch.device("meta"):
        teacher = Teacher()
    shapes = {name: "x".join(map(str, value.shape)) for name, value in teacher.state_dict().items()}
    lines = (GOLDEN / "teacher_full.keys.tsv").read_text().splitlines()
    assert shapes == {line.split("\t")[0]: line.split("\t")[1] for line in lines}
    assert sum(parameter.numel() for parameter in teacher.parameters()) == 862_251_708


def test_the_teacher_equals_the_published_code():
    expected = golden("teacher_tiny")
    teacher = load_teacher(golden_state_dict("teacher_tiny"))
    outputs = []
    blocks = [*teacher.diff_model.down_blocks, teacher.diff_model.mid_block, *teacher.diff_model.up_blocks]
    for block in blocks:
        block.register_forward_hook(
            lambda _module, _inputs, output: outputs.append(output[0] if isinstance(output, tuple) else output)
        )
    with torch.no_grad():
        noise = teacher(expected["sample"], expected["timesteps"], expected["input_ids"])
    assert relative_error(noise, expected["noise_pred"]) < 1e-4
    for index, output in enumerate(outputs):
        assert relative_error(output, expected[f"block_outputs.{index}"]) < 1e-4


def test_teacher_that_speaks_of_other_categories_or_latents_is_refused():
    state = golden_state_dict("teacher_tiny")
    assert load_teacher(state, TINY_GOLDEN).latent_channels == TINY_GOLDEN.latent_channels
    for other in ({"categories": 10}, {"latent_channels": 8}):
        with pytest.raises(CheckpointError, match="the teacher has latents of 4 channels and 20 categories"):
            load_teacher(state, replace(TINY_GOLDEN, **other))


def test_its_attention_layer_equals_the_published_one():
    expected = golden("teacher_tiny")
    name = "modules.down_blocks.0.attentions.0.transformer_blocks.0.attn1"
    teacher = load_teacher(golden_state_dict("teacher_tiny"))
    layer = teacher.diff_model.down_blocks[0].attentions[0].transformer_blocks[0].attn1
    assert relative_error(layer(expected[f"{name}.in0"]), expected[f"{name}.out"]) < 1e-4


def test_attention_in_chunks_equals_the_recurrence_even_with_strong_gates():
    torch.manual_seed(0)
    queries, keys = torch.randn(2, 1, 2, 150, 4, dtype=torch.float64).unbind(0)
    values = torch.randn(1, 2, 150, 6, dtype=torch.float64)
    for strength in (0.05, 30.0):
        gates = -strength * torch.rand(1, 2, 150, 4, dtype=torch.float64)
        state, expected = torch.zeros(1, 2, 4, 6, dtype=torch.float64), []
        for n in range(150):
            state = gates[:, :, n, :, None].exp() * state + keys[:, :, n, :, None] * values[:, :, n, None]
            expected.append(torch.einsum("bhk,bhkv->bhv", queries[:, :, n], state))
        actual = gated_linear_attention(queries, keys, values, gates)
        torch.testing.assert_close(actual, torch.stack(expected, dim=2))
