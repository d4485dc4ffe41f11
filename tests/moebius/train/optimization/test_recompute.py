import torch

from moebius.network.config import MoebiusConfig
from moebius.network.denoiser import Denoiser
from moebius.train.optimization.recompute import recompute_blocks

TINY = MoebiusConfig(channels=(32, 32), image_size=64, category_width=16, context_width=16)


def _step(is_recomputed):
    torch.manual_seed(0)
    model = Denoiser(TINY).train()
    if is_recomputed:
        recompute_blocks(model)
    kept = 0

    def count(tensor):
        nonlocal kept
        kept += tensor.numel()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        output = model(torch.randn(2, 9, 8, 8), torch.tensor([3, 900]), torch.arange(10).repeat(2, 1))
    loss = output.square().mean()
    for weight in (model.conv_out.pointwise.weight, model.down_levels[-1].transformers[1].project_out.weight):
        torch.autograd.grad(loss, weight, retain_graph=True)  # as balancing does
    loss.backward()
    return model, kept


def test_gradients_and_statistics_stay_and_less_is_kept():
    (plain, all_kept), (recomputed, kept) = _step(is_recomputed=False), _step(is_recomputed=True)
    assert kept < all_kept / 3
    for (name, ours), theirs in zip(recomputed.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, msg=name)
    for (name, ours), theirs in zip(recomputed.named_buffers(), plain.buffers(), strict=True):
        assert torch.equal(ours, theirs), name
