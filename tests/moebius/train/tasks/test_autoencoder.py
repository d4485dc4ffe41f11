from dataclasses import replace

import numpy as np
import pytest
import torch

from moebius.autoencoder.vae import encode, load_vae
from moebius.checkpoint import CheckpointError
from moebius.train.loop import train
from moebius.train.settings import TrainSettings
from moebius.train.tasks.autoencoder import spoil
from moebius.train.tasks.build import build_task


def test_the_autoencoder_trains_and_its_latents_have_deviation_one(packed_photos, tmp_path):
    settings = TrainSettings(
        mode="vae", photos=str(packed_photos), folder=str(tmp_path), steps=20, batch_size=4, log_every=1
    )
    task = build_task(settings)
    kinds = ("psnr_alone", "psnr_beside")
    before = [float(task.losses(0)[kind]) for kind in kinds]
    train(task, settings)
    assert all(float(task.losses(0)[kind]) > old + 1 for kind, old in zip(kinds, before, strict=True))
    vae = load_vae(tmp_path / "vae")
    images = task.source.crops.batch(32, np.random.default_rng(5))
    latents = encode(vae, images, torch.zeros(32, 8, 16, 16))
    assert 0.5 < float(latents.std()) < 2


def test_a_decoder_trained_further_keeps_the_latents_that_denoisers_know(packed_photos, tmp_path):
    first = TrainSettings(mode="vae", photos=str(packed_photos), folder=str(tmp_path / "first"), steps=2, batch_size=2)
    train(build_task(first), first)
    further = replace(first, vae=str(tmp_path / "first" / "vae"), folder=str(tmp_path / "further"), ema_decay=0)
    train(build_task(further), further)
    before, after = (load_vae(tmp_path / name / "vae") for name in ("first", "further"))
    assert after.config == before.config
    changed = {
        name
        for (name, old), new in zip(before.state_dict().items(), after.state_dict().values(), strict=True)
        if not torch.equal(old, new)
    }
    assert changed and all(name.startswith("decoder.") for name in changed)


def test_spoilt_latents_differ_inside_holes_of_thin_masks_alone_or_are_noisy():
    clean, blank = torch.randn(256, 8, 4, 4), torch.full((256, 8, 4, 4), 5.0)
    holes = torch.zeros(256, 1, 32, 32)
    holes[:, :, :8, :8] = 1
    thin = torch.arange(256) < 128
    worst = torch.where(thin, 3.0, 0.3)
    spoilt = spoil(clean, blank, holes, thin, worst, torch.Generator().manual_seed(0))
    replaced = (spoilt[:, :, 0, 0] == 5).all(dim=1)
    others = (spoilt[:, :, 0, 0] == clean.roll(1, dims=0)[:, :, 0, 0]).all(dim=1)
    assert 40 < replaced.sum() < 88 and 16 < others.sum() < 48
    assert not (replaced | others)[~thin].any()
    assert not (spoilt[:, :, 1:, 1:] == 5).any()
    errors = (spoilt - clean)[:, :, 1:, 1:].square().mean(dim=(1, 2, 3)).sqrt()
    assert errors[~thin].max() < 0.5 and 1 < errors[thin].max() < 4


def test_only_a_small_autoencoder_is_trained_further_and_denoisers_need_its_latents(
    packed_photos, tiny_weights, tmp_path
):
    settings = TrainSettings(mode="vae", photos=str(packed_photos), vae=str(tiny_weights / "vae"))
    with pytest.raises(CheckpointError, match="only a small autoencoder"):
        build_task(settings)
    with pytest.raises(CheckpointError, match="latents of 4 channels, the denoiser of 8"):
        build_task(replace(settings, mode="diffusion"))
