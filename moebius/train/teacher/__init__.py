"""The teacher: PixelHacker's U-Net with gated linear attention."""

from moebius.train.teacher.network import Teacher, load_teacher

__all__ = ["Teacher", "load_teacher"]
