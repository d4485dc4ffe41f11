"""Random masks of boxes."""

import numpy as np
from hypothesis import strategies as st


def blobs(height: int, width: int, boxes: list[tuple[float, float, float, float]]) -> np.ndarray:
    mask = np.zeros((height, width), bool)
    for top, left, tall, wide in boxes:
        row, column = int(top * height), int(left * width)
        mask[row : row + 1 + int(tall * height), column : column + 1 + int(wide * width)] = True
    return mask


unit = st.floats(0, 0.999)
masks = st.builds(
    blobs,
    st.integers(1, 300),
    st.integers(1, 300),
    st.lists(st.tuples(unit, unit, unit, unit), max_size=12),
)
