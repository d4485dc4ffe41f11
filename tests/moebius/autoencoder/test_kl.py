"""The published kind of autoencoder, against diffusers' own of the same weights and files."""

import json
import subprocess
import sys

import pytest
import torch
from torch import Tensor

import moebius.autoencoder.kl
from moebius.autoencoder.kl import KlAutoencoder, KlAutoencoderConfig
from moebius.autoencoder.vae import decode, encode, load_vae
from moebius.checkpoint import CheckpointError
from tests.conftest import ROOT, relative_error

CONFIGS = {
    "published": KlAutoencoderConfig((128, 256, 512, 512), layers_per_block=2, scaling_factor=0.13025),
    "small": KlAutoencoderConfig((16, 32, 32, 32), norm_num_groups=8, mid_block_add_attention=False),
    "without the 1×1 convolutions": KlAutoencoderConfig(
        (16, 24), latent_channels=16, norm_num_groups=8, use_quant_conv=False, use_post_quant_conv=False
    ),
    "of one resolution": KlAutoencoderConfig((16,), norm_num_groups=4, in_channels=4, out_channels=2),
}
SMALL = CONFIGS["small"]
WITH_ATTENTION = KlAutoencoderConfig((16, 32, 32, 32), norm_num_groups=8)


def seeded(config: KlAutoencoderConfig) -> KlAutoencoder:
    torch.manual_seed(0)
    return KlAutoencoder(config).eval().requires_grad_(False)


def inputs(config: KlAutoencoderConfig, count: int = 2) -> tuple[Tensor, Tensor]:
    """Images of 64 pixels and latents of as many."""
    generator, side_px = torch.Generator().manual_seed(1), 64 >> (len(config.block_out_channels) - 1)
    images = torch.rand(count, config.in_channels, 64, 64, generator=generator) * 2 - 1
    return images, torch.randn(count, config.latent_channels, side_px, side_px, generator=generator)


def results(vae, images: Tensor, latents: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and deviation of encoded images, decoded latents."""
    posterior = vae.encode(images).latent_dist
    return posterior.mean, posterior.std, vae.decode(latents).sample


@pytest.fixture
def folder(tmp_path):
    seeded(WITH_ATTENTION).save_pretrained(tmp_path)
    return tmp_path


def rewrite_config(folder, **changes) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def rewrite_weights(folder, change) -> None:
    """Replace the weights by a pickled file of changed entries."""
    state = load_vae(folder).state_dict()
    (folder / "diffusion_pytorch_model.safetensors").unlink()
    torch.save(dict(change(name, value) for name, value in state.items()), folder / "diffusion_pytorch_model.bin")


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@torch.no_grad()
def test_results_equal_those_of_diffusers(config, layout, tmp_path):
    diffusers = pytest.importorskip("diffusers")
    ours = seeded(config)
    ours.save_pretrained(tmp_path)
    theirs, loaded = diffusers.AutoencoderKL.from_pretrained(str(tmp_path), output_loading_info=True)
    assert not loaded["missing_keys"] and not loaded["unexpected_keys"]
    both = (results(vae.to(memory_format=layout), *inputs(config)) for vae in (ours, theirs.eval()))
    for actual, expected in zip(*both, strict=True):
        assert relative_error(actual, expected) <= 1e-6


@torch.no_grad()
def test_deviations_are_bounded_as_in_diffusers():
    diffusers = pytest.importorskip("diffusers")
    ours = seeded(SMALL)
    theirs = diffusers.AutoencoderKL.from_config(SMALL.to_published()).eval()
    ours.quant_conv.bias[SMALL.latent_channels :] = torch.tensor([-100.0, 100.0, -29.0, 19.0])
    theirs.load_state_dict(ours.state_dict())
    images, _ = inputs(SMALL)
    posterior, expected = (vae.encode(images).latent_dist for vae in (ours, theirs))
    assert posterior.logvar.min() == -30 and posterior.logvar.max() == 20
    assert relative_error(posterior.std.log(), expected.std.log()) <= 1e-6


def test_weights_of_a_seed_are_those_of_diffusers():
    """Stored digests of the untrained model depend on them."""
    diffusers = pytest.importorskip("diffusers")
    ours = seeded(WITH_ATTENTION).state_dict()
    torch.manual_seed(0)
    theirs = diffusers.AutoencoderKL.from_config(WITH_ATTENTION.to_published()).state_dict()
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], value) for name, value in theirs.items())


@torch.no_grad()
def test_files_that_diffusers_wrote_are_loaded(tmp_path):
    diffusers = pytest.importorskip("diffusers")
    theirs = diffusers.AutoencoderKL.from_config(WITH_ATTENTION.to_published()).eval()
    for safe in (True, False):
        theirs.save_pretrained(tmp_path / str(safe), safe_serialization=safe)
        ours = load_vae(tmp_path / str(safe))
        assert ours.config == WITH_ATTENTION and not ours.training
        for actual, expected in zip(*(results(vae, *inputs(SMALL)) for vae in (ours, theirs)), strict=True):
            assert relative_error(actual, expected) <= 1e-6


def test_old_names_of_attention_are_taken(folder):
    expected = results(load_vae(folder), *inputs(SMALL))
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    renamed = []

    def to_old(name, value):
        for new, before in old.items():
            if f"attentions.0.{new}." in name:
                renamed.append(name)
                name = name.replace(new, before)
        return name, value

    rewrite_weights(folder, to_old)
    assert len(renamed) == 16
    for actual, before in zip(results(load_vae(folder), *inputs(SMALL)), expected, strict=True):
        assert torch.equal(actual, before)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_weights_of_other_types_become_float32(folder, dtype):
    rewrite_weights(folder, lambda name, value: (name, value.to(dtype)))
    assert {value.dtype for value in load_vae(folder).state_dict().values()} == {torch.float32}


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"act_fn": "gelu"}, "act_fn must be silu, got gelu"),
        ({"_class_name": "AutoencoderTiny"}, "_class_name must be AutoencoderKL, got AutoencoderTiny"),
        ({"down_block_types": ["AttnDownEncoderBlock2D"] * 4}, "down_block_types must be .* got .*AttnDown"),
        ({"up_block_types": ["UpDecoderBlock2D"] * 3}, "up_block_types must be"),
        ({"block_out_channels": [16, 0, 32, 32]}, "block_out_channels must be positive integers"),
        ({"block_out_channels": "many"}, "block_out_channels must be positive integers"),
        ({"block_out_channels": []}, "block_out_channels must be positive integers"),
        ({"block_out_channels": 16}, "not iterable"),
        ({"norm_num_groups": 5}, "divisible"),
        ({"layers_per_block": None}, "layers_per_block must be positive integers, got None"),
        ({"scaling_factor": None}, "scaling_factor must be a positive number, got None"),
    ],
    ids=str,
)
def test_another_kind_of_network_is_refused(folder, change, rule):
    rewrite_config(folder, **change)
    with pytest.raises(CheckpointError, match=f"holds no readable autoencoder: .*{rule}"):
        load_vae(folder)


def test_fields_that_say_nothing_about_the_network_are_ignored_and_missing_ones_have_published_defaults(folder):
    rewrite_config(folder, sample_size=1024, force_upcast=True, _diffusers_version="0.19", latents_mean=None)
    path = folder / "config.json"
    fields = json.loads(path.read_text())
    for name in ("use_quant_conv", "mid_block_add_attention", "act_fn", "_class_name"):
        del fields[name]
    path.write_text(json.dumps(fields))
    assert load_vae(folder).config == WITH_ATTENTION


@pytest.mark.parametrize("content", [None, "{", "[]"])
def test_configuration_that_is_missing_or_unreadable_is_refused(folder, content):
    (folder / "config.json").unlink()
    if content is not None:
        (folder / "config.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"holds no readable autoencoder: .*"):
        load_vae(folder)


def test_keys_and_shapes_that_differ_are_named(folder):
    rewrite_config(folder, use_quant_conv=False)
    with pytest.raises(CheckpointError, match=r"config\.json: 2 unexpected keys \(quant_conv\.bias, quant_conv\.wei"):
        load_vae(folder)
    rewrite_config(folder, use_quant_conv=True, latent_channels=6)
    with pytest.raises(CheckpointError, match=r"quant_conv\.weight is \(8, 8, 1, 1\), expected \(12, 12, 1, 1\)"):
        load_vae(folder)
    rewrite_config(folder, latent_channels=4, layers_per_block=2)
    with pytest.raises(CheckpointError, match=r"missing keys \(decoder\.up_blocks\.0\.resnets\.2\."):
        load_vae(folder)


def test_weights_that_are_missing_or_hold_code_are_refused(folder):
    (folder / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"no checkpoint at .*diffusion_pytorch_model\.safetensors"):
        load_vae(folder)
    torch.save({"weight": print}, folder / "diffusion_pytorch_model.bin")
    with pytest.raises(CheckpointError, match="it must hold tensors, and no code"):
        load_vae(folder)


@pytest.mark.parametrize(("count", "sizes"), [(6, [3, 3]), (8, [4, 4]), (5, [3, 3]), (4, [4]), (1, [1])])
def test_large_batches_are_computed_in_equal_slices_with_the_same_results(count, sizes, monkeypatch):
    vae, (images, latents) = seeded(WITH_ATTENTION), inputs(WITH_ATTENTION, count)
    whole = results(vae, images, latents)
    monkeypatch.setattr(moebius.autoencoder.kl, "MAX_SLICE_PX", 4 * 64 * 64)
    seen = {"encoder": [], "decoder": []}
    for name, batches in seen.items():
        vae.get_submodule(name).register_forward_pre_hook(lambda _, given, into=batches: into.append(len(given[0])))
    for sliced, expected in zip(results(vae, images, latents), whole, strict=True):
        assert relative_error(sliced, expected) <= 1e-5  # other sizes of a batch are rounded otherwise
    assert seen == {"encoder": sizes, "decoder": sizes}


def test_four_images_of_512_pixels_are_computed_at_once():
    with torch.device("meta"):
        vae, images = KlAutoencoder(SMALL), torch.empty(32, 3, 512, 512)
    batches = []
    vae.encoder.register_forward_pre_hook(lambda _, given: batches.append(len(given[0])))
    assert vae.encode(images).latent_dist.mean.shape == (32, 4, 64, 64)
    assert batches == [4] * 8


def test_a_sample_s_result_depends_on_no_neighbour(monkeypatch):
    """To the last bit, wherever it stands in a batch of the same size."""
    monkeypatch.setattr(moebius.autoencoder.kl, "MAX_SLICE_PX", 4 * 64 * 64)
    vae, (images, latents) = seeded(WITH_ATTENTION), inputs(WITH_ATTENTION, 6)
    turned = (value.roll(1, dims=0) for value in results(vae, images, latents))
    for actual, expected in zip(results(vae, images.roll(1, dims=0), latents.roll(1, dims=0)), turned, strict=True):
        assert torch.equal(actual, expected)


def test_latents_are_scaled(folder):
    vae, (images, latents) = load_vae(folder), inputs(WITH_ATTENTION)
    mean, std, _ = results(vae, images, latents)
    noise = torch.ones_like(latents)
    torch.testing.assert_close(encode(vae, images, noise), (mean + std) * vae.config.scaling_factor)
    torch.testing.assert_close(decode(vae, latents), vae.decode(latents / vae.config.scaling_factor).sample)


def test_loading_and_running_a_model_imports_no_diffusers(tiny_weights):
    """It takes a worker seconds, and is missing on some machines."""
    code = f"""
import sys
sys.modules["diffusers"] = None  # importing it fails
import numpy as np
from moebius import Inpainter, InpaintSettings
photo, mask = np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64), bool)
mask[20:40, 20:40] = True
for fast in (True, False):
    settings = InpaintSettings(steps=2, batch_size=1, fast=fast)
    Inpainter.from_pretrained({str(tiny_weights)!r}, settings)([photo], [mask], [0])
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
