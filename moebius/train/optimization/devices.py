"""Device that training runs on."""

import torch


class DeviceError(ValueError):
    """The machine has no such device."""


def choose_device(name: str) -> torch.device:
    """Return the device of a name; ``auto`` is the GPU where there is one.

    Raises:
        DeviceError: there is none.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise DeviceError(f"device must be auto, cpu or a GPU that is there, got {name}") from error
    return device
