"""A detector of nothing real: it finds, in three of four pictures, a corner that depends on every pixel."""

import hashlib

import numpy as np


def find(image: np.ndarray) -> np.ndarray:
    found = np.zeros(image.shape[:2], bool)
    side = hashlib.sha256(image.tobytes()).digest()[0] % 4
    found[2 : 2 + side, 2 : 2 + side] = True
    return found
