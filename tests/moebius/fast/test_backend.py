"""Which kernels are chosen for a device, and what remains where they cannot be used."""

import shutil
import sys
from contextlib import nullcontext
from importlib.util import find_spec

import pytest
import torch

from moebius.fast import backend, self_check
from moebius.fast.backend import backend_for, is_available

CPU, GPU = torch.device("cpu"), torch.device("cuda", 7)
CAN_COMPILE = pytest.mark.skipif(
    sys.platform != "linux" or not shutil.which("cc"), reason="needs Linux and a C compiler"
)
HAS_TRITON = pytest.mark.skipif(find_spec("triton") is None, reason="Triton has wheels for Linux only")


@pytest.fixture(autouse=True)
def unchecked():
    """Forget the answer of an earlier self-check, and afterwards that of this one."""
    backend_for.cache_clear()
    yield
    backend_for.cache_clear()


@CAN_COMPILE
def test_kernels_are_available_on_a_cpu_with_a_compiler():
    from moebius.fast.cpu import autoencoder, denoiser

    assert is_available(CPU, torch.float32)
    assert backend_for(CPU, torch.bfloat16) == backend.Backend(denoiser.fuse, autoencoder.fuse)


@HAS_TRITON
def test_kernels_for_gpus_are_chosen_once_they_pass_the_self_check(monkeypatch):
    from moebius.fast.gpu import autoencoder, denoiser

    checked = []
    monkeypatch.setattr(torch.cuda, "device", nullcontext)
    monkeypatch.setattr(self_check, "check", lambda *given: checked.append(given))
    assert [backend_for(GPU, torch.bfloat16) for _ in range(2)] == [
        backend.Backend(denoiser.fuse, autoencoder.fuse)
    ] * 2
    assert checked == [(GPU, torch.bfloat16, denoiser.fuse, autoencoder.fuse)]


@HAS_TRITON
def test_what_fails_in_float16_leaves_the_kernels_of_other_types(monkeypatch):
    def check(device, dtype, *_):
        if dtype == torch.float16:
            raise OSError("no such instruction")

    monkeypatch.setattr(torch.cuda, "device", nullcontext)
    monkeypatch.setattr(self_check, "check", check)
    assert is_available(GPU, torch.bfloat16) and not is_available(GPU, torch.float16)


@pytest.mark.parametrize(
    ("device", "message"),
    [
        pytest.param(
            CPU, "the kernels for CPUs are unavailable, PyTorch's slower layers are used: ", marks=CAN_COMPILE
        ),
        pytest.param(GPU, "the kernels for GPUs are unavailable on cuda:7, PyTorch's slower ", marks=HAS_TRITON),
    ],
    ids=str,
)
@pytest.mark.parametrize("error", [OSError("no C compiler"), ArithmeticError("a guided step differs")], ids=repr)
def test_a_self_check_that_fails_or_differs_leaves_pytorchs_layers(device, message, error, monkeypatch):
    warnings = []
    monkeypatch.setattr(backend.logger, "warning", lambda text, *values: warnings.append(text % values))
    monkeypatch.setattr(torch.cuda, "device", nullcontext)
    monkeypatch.setattr(self_check, "check", lambda *_: (_ for _ in ()).throw(error))
    assert not is_available(device, torch.float32)
    assert warnings[-1].startswith(message) and warnings[-1].endswith(str(error))


def test_other_devices_have_no_kernels():
    assert not is_available(torch.device("meta"), torch.float32)
