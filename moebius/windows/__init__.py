"""Square windows around the holes of a photo: planned, cut for the model, pasted back.

Public: what is imported here, which needs no PyTorch, and ``compositing``, which does.
"""

from moebius.windows.holes import CELL_PX, Box
from moebius.windows.planning import plan_windows
from moebius.windows.window import Window, cut_window, paste_window

__all__ = ["CELL_PX", "Box", "Window", "cut_window", "paste_window", "plan_windows"]
