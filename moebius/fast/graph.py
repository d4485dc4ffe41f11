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
        self._captured: dict[tuple[torch.Size, ...], tuple[torch.cuda.CUDAGraph, tuple[Tensor, ...], Tensor]] = {}

    def __call__(self, *inputs: Tensor) -> Tensor:
        """The result, valid until the next call."""
        shapes = tuple(tensor.shape for tensor in inputs)
        if shapes not in self._captured:
            self._captured[shapes] = self._capture(tuple(tensor.clone() for tensor in inputs))
        graph, places, output = self._captured[shapes]
        for place, tensor in zip(places, inputs, strict=True):
            place.copy_(tensor)
        graph.replay()
        return output

    def _capture(self, places: tuple[Tensor, ...]) -> tuple[torch.cuda.CUDAGraph, tuple[Tensor, ...], Tensor]:
        beside = torch.cuda.Stream()
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):
            for _ in range(WARM_UPS):
                self.function(*places)
        torch.cuda.current_stream().wait_stream(beside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            output = self.function(*places)
        return graph, places, output


def captured(function: Callable[..., Tensor], device: torch.device) -> Callable[..., Tensor]:
    """The function, as a graph where there are graphs."""
    return CapturedStep(function) if device.type == "cuda" else function
