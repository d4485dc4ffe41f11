"""Moebius: lightweight image inpainting (arXiv 2606.19195), without any cluster code."""

from moebius.checkpoint import load_denoiser
from moebius.config import MoebiusConfig
from moebius.denoiser import Denoiser
from moebius.inpainter import Inpainter, InpaintSettings

__all__ = ["Denoiser", "InpaintSettings", "Inpainter", "MoebiusConfig", "load_denoiser"]
