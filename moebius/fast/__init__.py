"""The same weights, arranged for speed; ``moebius.network.denoiser`` and its layers say what is computed."""

from moebius.fast.denoiser import FastDenoiser

__all__ = ["FastDenoiser"]
