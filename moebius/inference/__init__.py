"""Inpainting with a loaded model: ``settings``, the model made ready on a device (``preparation``), ``inpainter``.

Public: ``inpainter.Inpainter`` and ``settings.InpaintSettings``. Nothing is imported here, since ``settings`` needs no
PyTorch.
"""
