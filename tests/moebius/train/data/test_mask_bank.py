import numpy as np
import torch

from moebius.train.data.mask_bank import MaskBank, draw_masks, read_masks, write_masks
from moebius.train.data.random_masks import BRUSHES


def test_stored_masks_come_back_as_they_were(tmp_path):
    masks = draw_masks(5, 64, seed=3)
    assert set(masks) == set(BRUSHES) and all(drawn.shape == (5, 64, 64) for drawn in masks.values())
    write_masks(masks, tmp_path / "masks.npz")
    read = read_masks(tmp_path / "masks.npz")
    assert all(np.array_equal(read[kind], drawn) for kind, drawn in masks.items())


def test_a_bank_varies_its_masks_and_draws_kinds_in_equal_parts():
    corner, row = np.zeros((1, 32, 32), bool), np.zeros((1, 32, 32), bool)
    corner[0, :4, :4], row[0, 15] = True, True
    bank = MaskBank({"corner": corner, "row": row}, torch.device("cpu"))
    holes = bank.draw(101, ("corner", "row"), torch.Generator().manual_seed(0))
    assert holes.shape == (101, 1, 32, 32) and holes.dtype == torch.float32
    areas = holes.sum(dim=(1, 2, 3))
    assert areas[:51].max() <= 16 and areas.min() > 0
    lines = holes[51:, 0].sum(dim=2).amax(dim=1)
    assert 10 < (lines > 1).sum() < 40  # about half are transposed
    assert len({hole.numpy().tobytes() for hole in holes}) > 60
    again = bank.draw(101, ("corner", "row"), torch.Generator().manual_seed(0))
    assert torch.equal(holes, again)
