"""The denoiser: its sizes (``config``), pure functions, layers, blocks, the whole U-Net and its published checkpoints.

Public: ``config.MoebiusConfig``, ``denoiser.Denoiser`` and ``published.load_denoiser``. Nothing is imported here, since
``config`` needs no PyTorch.
"""
