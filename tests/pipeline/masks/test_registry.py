import json
import subprocess
import sys

import pytest

from pipeline.config.mask import MaskConfig
from pipeline.masks.base import MaskKind, open_kind
from pipeline.masks.registry import MASK_KINDS
from tests.conftest import ROOT

FORMATS = {"member": "webdataset", "column": "parquet"}
NEEDED = {
    "column": {"column": "mask"},
    "detect": {"model": "/a.onnx", "model_sha256": ["0" * 64]},
    "python": {"function": "a:b", "version": "1"},
}


@pytest.mark.parametrize("kind", MASK_KINDS)
def test_every_kind_that_is_registered_can_be_opened(kind):
    masks = open_kind(MaskConfig(kind=kind, **NEEDED.get(kind, {})))
    assert isinstance(masks, MaskKind) and masks.config.kind == kind


def test_checking_a_configuration_of_any_kind_imports_no_database_and_no_torch():
    code = f"""
import json, sys
from pipeline.config.job import JobConfig, MaskConfig, SourceConfig
from pipeline.masks.registry import MASK_KINDS
for kind in MASK_KINDS:
    source = SourceConfig({FORMATS!r}.get(kind, "images"))
    JobConfig(source, MaskConfig(kind, **{NEEDED!r}.get(kind, {{}}))).fingerprint
print(json.dumps([name for name in ("duckdb", "torch", "pyarrow", "numpy", "PIL", "fsspec") if name in sys.modules]))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
