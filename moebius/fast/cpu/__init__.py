"""C kernels for CPUs: products, with AMX tiles where a core has them, and what is between them in one pass each.

Public: ``denoiser.fuse`` and ``autoencoder.fuse``, which :mod:`moebius.fast.backend` chooses. The package
:mod:`moebius.fast.gpu` has the same names for GPUs.
"""
