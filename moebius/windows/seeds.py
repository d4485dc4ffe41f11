"""Seeds of windows: of the seed of their photo, and nothing that depends on order or neighbours."""

import hashlib


def window_seed(seed: int, name: int | str) -> int:
    """Return the seed of one of a photo's windows, see :meth:`moebius.windows.painting.Painting.name`."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:8], "big") >> 1
