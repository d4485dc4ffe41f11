"""The optimized denoiser and autoencoder: the same weights and the same results to rounding, in less time.

Public: ``FastDenoiser``, ``sampling`` (guided noise), ``autoencoder.optimize_autoencoder``, ``backend`` (kernels of our
own for CPUs and GPUs) and ``gpu_arithmetic``. What is computed is in :mod:`moebius.network` and
:mod:`moebius.autoencoder`.
"""

from moebius.fast.denoiser import FastDenoiser

__all__ = ["FastDenoiser"]
