"""A training step of the denoiser on fixed places in memory, replayed as one CUDA graph where there is a GPU.

Forward and backward pass and both optimizers launch some ten thousand small kernels, which Python starts more slowly
than a large GPU computes them. A graph holds the learning rate it was captured with; since the steps of AdamW and Muon
are linear in it, every step is taken at the full rate and then shortened to the share that the schedule wants.
"""

import dataclasses
import logging
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from moebius.network.denoiser import Denoiser
from moebius.train.data.batches import NoisyBatch
from moebius.train.optimization.optimizers import Optimizers
from moebius.train.settings import TrainSettings
from moebius.train.tasks.denoising import noise_losses

logger = logging.getLogger(__name__)
WARM_UPS = 3  # steps before a capture, in which libraries choose their algorithms


class DenoiserStep:
    """Losses, gradients and one step of both optimizers.

    Args:
        model: on its device; it is trained in place.
        settings: rate, decay, clipping and weights of the loss.
        batch: of the shapes of all batches; its values are not kept.
        bf16: compute under autocast.
        channels_last: layout of the inputs.
    """

    def __init__(
        self, model: Denoiser, settings: TrainSettings, batch: NoisyBatch, bf16: bool, channels_last: bool
    ) -> None:
        self.model, self.settings, self.bf16 = model.train(), settings, bf16
        layout = torch.channels_last if channels_last else torch.contiguous_format
        self.batch = NoisyBatch(*(self._place(value, layout) for value in _values(batch)))
        self.device = batch.inputs.device
        self.optimizers = Optimizers(model, settings, muon=True)
        self.optimizers.set_rate(settings.learning_rate)
        for optimizer in self.optimizers.optimizers:
            for group in optimizer.param_groups:
                group["capturable"] = self.device.type == "cuda"
        self.share = torch.zeros((), device=self.device)
        self.loss, self.hole_loss, self.norm = (torch.zeros((), device=self.device) for _ in range(3))
        self.before = [parameter.detach().clone() for parameter in self.optimizers.parameters]
        self.replay: Callable[[], object] | None = None

    @staticmethod
    def _place(value: Tensor, layout: torch.memory_format) -> Tensor:
        return value.clone(memory_format=layout) if value.ndim == 4 else value.clone()

    def __call__(self, batch: NoisyBatch, share: float) -> None:
        """Take a step at ``share`` of the learning rate, 0 … 1; ``loss``, ``hole_loss`` and ``norm`` are of this step.

        Nothing waits for the device.
        """
        for place, value in zip(_values(self.batch), _values(batch), strict=True):
            place.copy_(value)
        self.share.fill_(share)
        (self.replay or self._compute)()

    def capture(self) -> bool:
        """Capture the step for replay; false, with a warning, where that is impossible: it then runs as it is."""
        if self.device.type != "cuda":
            return False
        try:
            torch.cuda.empty_cache()  # what the stream of the warm-up cannot use
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(WARM_UPS):
                    self._compute()
            torch.cuda.current_stream().wait_stream(stream)
            torch.cuda.synchronize()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                self._compute()
            torch.cuda.synchronize()
        except RuntimeError as error:
            logger.warning("the step is not captured, which makes it slower: %s", error)
            return False
        self.replay = graph.replay
        return True

    def restart(self, state: Mapping[str, Tensor]) -> None:
        """Set the weights to a state dict of the model and forget what the optimizers remember."""
        self.model.load_state_dict(dict(state))
        with torch.no_grad():
            for optimizer in self.optimizers.optimizers:
                for memory in optimizer.state.values():
                    for value in memory.values():
                        value.zero_()

    def _compute(self) -> None:
        batch, optimizers = self.batch, self.optimizers
        parameters: list[Tensor] = list(optimizers.parameters)
        for parameter in parameters:
            parameter.grad = None
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16, cache_enabled=False):
            predicted = self.model(batch.inputs, batch.timesteps, batch.category_ids)
        losses = noise_losses(predicted.float(), batch, self.settings.noise_cap, self.settings.known_weight)
        losses["total"].backward()
        with torch.no_grad():
            torch._foreach_copy_(self.before, parameters)
            self.norm.copy_(nn.utils.clip_grad_norm_(parameters, self.settings.clip_norm))
            for view, parameter in zip(optimizers.views, optimizers.matrices, strict=True):
                view.grad = None if parameter.grad is None else parameter.grad.reshape(view.shape)
            for optimizer in optimizers.optimizers:
                optimizer.step()
            torch._foreach_sub_(parameters, self.before)
            torch._foreach_mul_(parameters, self.share)
            torch._foreach_add_(parameters, self.before)
            self.loss.copy_(losses["total"].detach())
            self.hole_loss.copy_(losses["hole"])


def _values(batch: NoisyBatch) -> list[Tensor]:
    return [getattr(batch, field.name) for field in dataclasses.fields(batch)]
