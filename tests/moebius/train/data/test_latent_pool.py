import numpy as np
import pytest
import torch

from moebius.autoencoder.small import SmallAutoencoder, SmallAutoencoderConfig
from moebius.autoencoder.vae import encode_pairs
from moebius.network.functional import latent_mask
from moebius.train.data.device_crops import DeviceCrops
from moebius.train.data.latent_pool import LatentPool
from moebius.train.data.mask_bank import MaskBank
from tests.conftest import textured


def test_a_pool_holds_the_newest_pairs_of_latents_and_masks():
    torch.manual_seed(0)
    vae = SmallAutoencoder(SmallAutoencoderConfig()).eval()
    crops = DeviceCrops([textured(64, 64, seed=1)], 64, torch.device("cpu"))
    mask = np.zeros((1, 64, 64), bool)
    mask[0, 24:40, 8:56] = True
    pool = LatentPool(vae, crops, MaskBank({"bar": mask}, torch.device("cpu")), ("bar",), 8, capacity=6)
    generator = torch.Generator().manual_seed(0)
    with pytest.raises(ValueError, match="encode pairs"):
        pool.draw(1, generator)
    pool.encode(4, generator)
    first = pool.pairs[:4].clone()
    pool.encode(4, generator)
    assert torch.equal(pool.pairs[2:4], first[2:]) and not torch.equal(pool.pairs[:2], first[:2])
    clean, masked, masks = pool.draw(32, generator)
    assert clean.shape == masked.shape == (32, 8, 8, 8) and masks.shape == (32, 1, 8, 8)
    known = masks.expand_as(clean) == 0
    assert set(masks.unique().tolist()) == {0.0, 1.0} and known.any()


def test_pairs_of_a_pool_are_those_of_the_autoencoder():
    torch.manual_seed(0)
    vae = SmallAutoencoder(SmallAutoencoderConfig()).eval()
    crops = DeviceCrops([textured(90, 80, seed=1)], 64, torch.device("cpu"))
    bank = MaskBank({"box": np.ones((1, 64, 64), bool)}, torch.device("cpu"))
    pool = LatentPool(vae, crops, bank, ("box",), 8, capacity=3)
    pool.encode(3, torch.Generator().manual_seed(5))
    generator = torch.Generator().manual_seed(5)
    images, holes = crops.draw(3, generator), bank.draw(3, ("box",), generator)
    with torch.no_grad():
        pairs = encode_pairs(vae, images, holes, torch.randn(2, 3, 8, 8, 8, generator=generator))
    torch.testing.assert_close(pool.pairs.float(), torch.stack(pairs, dim=1), rtol=1e-3, atol=1e-3)
    assert torch.equal(pool.holes.float(), latent_mask(holes, 8))
