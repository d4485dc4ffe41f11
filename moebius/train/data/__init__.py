"""Data to train on: random masks, noisy batches, and caches of crops and latents."""
