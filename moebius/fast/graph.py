"""Replays the kernels of a step as one CUDA graph: a GPU then waits for no Python between a thousand small kernels."""

from collections.abc import Callable

import torch
from torch import Tensor

WARM_UPS = 3  # before a capture: libraries choose and reserve what they need


class CapturedStep:
    """Equals the function it is given, which must do the same for inputs of the same shapes.

    Args:
        function: of tensors on one GPU, to a tensor; without any wait for the GPU.
    """

    def __init__(self, function: Callable[..., Tensor]) -> None:
        self.function = function
        self._captured: tuple[torch.cuda.CUDAGraph, tuple[Tensor, ...], Tensor] | None = None

    def __call__(self, *inputs: Tensor) -> Tensor:
        """Return the result, valid until the next call."""
        shapes = [tensor.shape for tensor in inputs]
        if self._captured is None or [place.shape for place in self._captured[1]] != shapes:
            self._captured = None  # the memory of a graph is free when it is gone
            self._captured = self._capture(tuple(tensor.clone() for tensor in inputs))
        graph, places, output = self._captured
        for place, tensor in zip(places, inputs, strict=True):
            place.copy_(tensor)
        graph.replay()
        return output

    def _capture(self, places: tuple[Tensor, ...]) -> tuple[torch.cuda.CUDAGraph, tuple[Tensor, ...], Tensor]:
        device = places[0].device
        usual, beside = torch.cuda.current_stream(device), torch.cuda.Stream(device)
        beside.wait_stream(usual)
        with torch.cuda.stream(beside):
            for _ in range(WARM_UPS):
                self.function(*places)
        usual.wait_stream(beside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=beside, capture_error_mode="thread_local"):  # others may use other GPUs
            output = self.function(*places)
        return graph, places, output


def captured(function: Callable[..., Tensor], device: torch.device) -> Callable[..., Tensor]:
    """Return the function as a graph where there are graphs; see :class:`CapturedStep`."""
    return CapturedStep(function) if device.type == "cuda" else function
