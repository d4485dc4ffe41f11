"""What a run did, for people and for ``runs/<run_id>.json``."""

import json
import platform
import time
from collections import Counter
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from moebius.weights import Weights
from pipeline.config import JobConfig
from pipeline.manifest import Manifest
from pipeline.plan import Plan
from pipeline.records import FAILED

PACKAGES = ("torch", "ray", "pyarrow", "fsspec", "pillow", "numpy", "diffusers")


@dataclass(frozen=True)
class Summary:
    """Everything worth knowing about a run; see ``docs/manifest.md``."""

    run_id: str
    configuration: dict[str, Any]
    weights: dict[str, Any]
    config_fingerprint: str
    samples: dict[str, int]
    errors: dict[str, int]
    timings: dict[str, float]
    versions: dict[str, str]
    device: str

    @property
    def failed_fraction(self) -> float:
        """Failed samples of all in the manifest."""
        return self.samples.get(FAILED, 0) / max(self.samples["total"], 1)

    def to_json(self) -> bytes:
        """Indented JSON."""
        return json.dumps(asdict(self), indent=2, default=str).encode()


def summarize(
    config: JobConfig, weights: Weights, run_id: str, plan: Plan, manifest: Manifest, started: float, planned: float
) -> Summary:
    """Count the manifest's rows and note what made them."""
    rows = manifest.load(["sample_id", "status", "error_type"])
    statuses = Counter(rows["status"].to_pylist())
    errors = Counter(filter(None, rows["error_type"].to_pylist()))
    now = time.time()
    return Summary(
        run_id=run_id,
        configuration=public_configuration(config),
        weights={
            "name": weights.name,
            "trained": weights.trained,
            "fingerprint": weights.fingerprint,
            "sha256": dict(weights.sha256),
        },
        config_fingerprint=config.fingerprint,
        samples={"total": rows.num_rows, "done_now": len(plan.todo), **statuses},
        errors=dict(errors.most_common()),
        timings={"started_at": started, "plan_s": planned - started, "run_s": now - planned, "total_s": now - started},
        versions={"python": platform.python_version(), **{package: version(package) for package in PACKAGES}},
        device=device_name(),
    )


def public_configuration(config: JobConfig) -> dict[str, Any]:
    """The configuration with every storage option hidden: any of them may be a secret."""
    return asdict(config) | {"storage": dict.fromkeys(config.storage, "***")}


def device_name() -> str:
    """Name of this machine's accelerator, else of its processor."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    processors = Path("/proc/cpuinfo")
    names = processors.read_text().split("model name") if processors.exists() else []
    model = names[1].splitlines()[0].strip("\t :") if len(names) > 1 else platform.processor()
    return f"cpu: {model}, {torch.get_num_threads()} threads"
