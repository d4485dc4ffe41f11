"""Triton kernels for GPUs: what is between the large products in one pass over memory each.

Public: ``denoiser.fuse`` and ``autoencoder.fuse``, which :mod:`moebius.fast.backend` chooses. The package
:mod:`moebius.fast.cpu` has the same names for CPUs.
"""
