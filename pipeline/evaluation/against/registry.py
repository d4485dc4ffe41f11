"""Registry of the ways to get fills from elsewhere: one line and one file each.

Each is a function of a place and of ``window.context`` that returns a :class:`pipeline.evaluation.methods.Method`.
"""

from pipeline.registry import Registry

OTHERS = Registry(
    "pipeline.evaluation.against",
    {
        "folder": "folder.open_folder",
        "onnx": "onnx_file.open_onnx",
        "diffusers": "diffusion.open_diffusion",
        "python": "function.open_function",
    },
)
FILES = ("folder", "onnx")  # whose place is a path
