"""Pixels to latents and back: the published autoencoder (``kl``) and the small one that ships with it (``small``).

Public: ``vae`` loads either kind and calls both the same way. Nothing is imported here: ``vae`` needs PyTorch.
"""
