"""Names that users and their scripts may rely on, and modules that workers without PyTorch import."""

import subprocess
import sys
from importlib import import_module

import pytest

import moebius
import moebius.weights
from tests.conftest import ROOT

PUBLIC = [
    *(("moebius", name) for name in moebius.__all__),
    *(("moebius.weights", name) for name in moebius.weights.__all__),
    ("moebius.sampler", "ddim_sample"),
    ("moebius.train.losses", "distillation_losses"),
    ("moebius.train.losses", "balance"),
    ("moebius.train.teacher", "load_teacher"),
]
LIGHT = (
    *("moebius", "moebius.windows", "moebius.weights", "moebius.weights.hub", "moebius.inference.settings"),
    *("moebius.network.config", "moebius.sampling.schedule", "moebius.train.settings"),
)


@pytest.mark.parametrize(("module", "name"), PUBLIC, ids=".".join)
def test_public_name_can_be_imported(module, name):
    assert callable(getattr(import_module(module), name)) or name.isupper()


@pytest.mark.parametrize("package", [moebius, moebius.weights], ids=lambda package: package.__name__)
def test_name_that_a_lazy_package_lacks_is_refused(package):
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = package.nothing


@pytest.mark.parametrize("module", LIGHT)
def test_light_module_does_not_import_pytorch(module):
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
