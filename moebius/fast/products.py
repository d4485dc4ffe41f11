"""Products of matrices by the faster library: on CPUs oneDNN, in float32 as well.

PyTorch uses MKL for products in float32, which fills half of the vectors of AMD's processors with AVX-512.
"""

import torch
from torch import Tensor
from torch.nn import functional

IMAGES = 16  # 1×1 convolutions of so many images go to oneDNN, in one thread, too
MIN_ROWS = 256  # of fewer, a convolution takes longer to set up than it saves


def product(rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``rows @ weight.T + bias``: (N, in), (out, in) and (out,) → (N, out), like ``torch.nn.functional.linear``."""
    count, width = rows.shape
    is_left_to_mkl = rows.device.type == "cpu" and rows.dtype == torch.float32
    is_convolution = count >= MIN_ROWS and count % IMAGES == 0 and torch.backends.mkldnn.is_available()
    if not (is_left_to_mkl and is_convolution):
        return functional.linear(rows, weight, bias)
    images = rows.reshape(IMAGES, count // IMAGES, 1, width).permute(0, 3, 1, 2)
    return functional.conv2d(images, weight[:, :, None, None], bias).permute(0, 2, 3, 1).reshape(count, -1)
