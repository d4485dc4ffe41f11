"""The C kernels, compiled for the processor that they run on."""

import ctypes
import platform
from ctypes import c_float, c_int, c_long, c_void_p
from functools import cache
from pathlib import Path

from moebius.c_library import load_library

SOURCES = ("passes.c", "product.c", "local_lambda.c")
HEADERS = ("rows.h", "tiles.h")
FLAGS = ["-march=native", "-fno-math-errno", "-fno-trapping-math", "-fopenmp"]
WHOLE_VECTORS = ["-mprefer-vector-width=512"]  # of processors that have such; only x86 knows the option

_NORM = [c_void_p, c_void_p, c_long, c_float]  # scale, shift, positions, eps
SIGNATURES = {
    "has_tiles": [],
    "normed": [c_void_p, c_int, c_long, c_long, *_NORM, c_void_p, *[c_int] * 3],
    "group_terms": [c_void_p, c_int, *[c_long] * 4, c_float, *[c_void_p] * 4, c_int],
    "norm_silu_depthwise": [c_void_p, *[c_long] * 4, *[c_void_p] * 6, c_int, c_int],
    "gated_depthwise": [c_void_p, c_int, *[c_long] * 4, *[c_void_p] * 3, c_int],
    "product": [c_void_p, c_int, c_long, c_long, *_NORM, c_void_p, c_int, c_long, c_void_p, c_void_p, *[c_int] * 3],
    "local_lambda": [c_void_p, c_int, *[c_long] * 7, c_void_p, c_int, c_void_p, c_void_p, c_int],
}


@cache
def kernels() -> ctypes.CDLL:
    """Load the functions of ``SOURCES``; functions for tiles exist only where the processor has AMX.

    Raises:
        OSError: there is no C compiler, it fails, or its library cannot be loaded.
    """
    flags = FLAGS + (WHOLE_VECTORS if platform.machine() == "x86_64" else [])
    library = load_library(Path(__file__).parent, SOURCES, HEADERS, flags)
    for name, arguments in SIGNATURES.items():
        if hasattr(library, name):
            getattr(library, name).argtypes = arguments
    return library
