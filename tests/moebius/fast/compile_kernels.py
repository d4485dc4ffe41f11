"""Compiles the kernels at the published sizes for a GPU that need not be there, as the launches ask for them."""

import sys
from inspect import isfunction

import torch
import triton
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.jit import JITFunction

from moebius.fast.fold import ChannelsLastConv
from moebius.fast.gpu import contexts, depthwise, group_norm, sums

TARGET = GPUTarget("cuda", 80, 32)
LARGEST_SHARED = 99 * 1024  # of the smallest GPUs since
POINTERS = {torch.float32: "*fp32", torch.bfloat16: "*bf16"}


class Compiled:
    """In the place of a kernel: a launch compiles and computes nothing."""

    def __init__(self, kernel: JITFunction) -> None:
        self.kernel = kernel

    def __getitem__(self, grid):
        return self.launch

    def launch(self, *arguments, num_warps=4, **constants):
        signature = {}
        for name, argument in zip(self.kernel.arg_names, arguments, strict=False):
            is_tensor = isinstance(argument, Tensor)
            signature[name] = (
                POINTERS[argument.dtype] if is_tensor else "fp32" if isinstance(argument, float) else "i32"
            )
        signature |= dict.fromkeys(constants, "constexpr")
        source = ASTSource(fn=self.kernel, signature=signature, constexprs=constants)
        compiled = triton.compile(source, target=TARGET, options={"num_warps": num_warps})
        shared = compiled.metadata.shared
        assert shared <= LARGEST_SHARED, (self.kernel.__name__, constants, shared)
        assert "max.f32" not in compiled.asm["ptx"], self.kernel.__name__  # it makes a number of NaN
        sys.stdout.write(f"{self.kernel.__name__} {constants}\n")


def main() -> None:
    for module in (contexts, depthwise, group_norm, sums):
        launchers = [value for value in vars(module).values() if isfunction(value)]
        for name in {name for launcher in launchers for name in launcher.__code__.co_names}:
            kernel = getattr(module, name, None)
            if isinstance(kernel, JITFunction):
                setattr(module, name, Compiled(kernel))
    for dtype in POINTERS:
        for channels in (320, 1280):
            features, bias = torch.empty(2, 16, 16, channels), torch.empty(channels)
            lowered, conv = features.to(dtype), ChannelsLastConv(torch.empty(channels, 1, 3, 3), bias).to(dtype)
            scale, shift = group_norm.group_terms(features, 32, 1e-5, bias, bias)
            group_norm.group_terms(lowered, 32, 1e-5, added=bias.to(dtype))
            group_norm.scaled(lowered, scale, shift, dtype, silu=True)
            depthwise.norm_silu_depthwise(features, scale, shift, conv, bias, dtype, True)
            depthwise.gated_depthwise(lowered, lowered, conv, conv)
            sums.summed(lowered, lowered, bias.to(dtype))
            sums.add_and_norm(features, lowered, 1e-5, dtype)
            width = channels // 8
            table, values = torch.empty(2, 256, width, 10, dtype=dtype), torch.empty(2, 10, width, dtype=dtype)
            contexts.meet_contexts(torch.empty(32, 16, 16, channels, dtype=dtype), table, values, 16)


if __name__ == "__main__":
    main()
