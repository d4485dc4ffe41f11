"""The denoiser: its sizes (``config``), pure functions, layers, blocks and the whole U-Net (``denoiser``).

Public: ``config.MoebiusConfig`` and ``denoiser.Denoiser``. Nothing is imported here: ``config`` needs no PyTorch.
"""
