"""Public name of the published sampling loop; see :mod:`moebius.sampling`."""

from moebius.sampling.sampler import ddim_sample

__all__ = ["ddim_sample"]
