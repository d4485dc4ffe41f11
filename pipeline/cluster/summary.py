"""Summary of a run, for the log and ``runs/<run_id>.json``."""

import contextlib
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from moebius.hardware import device_name, versions
from moebius.weights import Weights
from pipeline.config.job import JobConfig, MaskConfig
from pipeline.config.public import public_configuration
from pipeline.counts import RowCounts
from pipeline.masks.sizes import may_be_upright
from pipeline.planning.plan import Plan
from pipeline.records import FAILED
from pipeline.storage.storage import Storage
from pipeline.uris import public_text

MAY_BE_UPRIGHT = (
    "photos that their EXIF orientation turns, with masks taken as drawn on them as stored; "
    "if they were drawn on photos as viewers show them, set mask.upright=true"
)
METADATA_NOTED = "results with less metadata than sink.metadata promises"
PACKAGES = ("torch", "ray", "pyarrow", "fsspec", "pillow", "numpy")


@dataclass
class Summary:
    """Configuration, counts, timings and state of a run; see ``docs/reference/manifest.md``.

    Args:
        state: ``running``, ``ended``, ``failed``, or ``stopped`` by a signal.
        samples: found in the source, of these without a mask, gone from it (rows that are kept), forgotten (deleted on
            request and skipped), done in this run, and the found ones by status.
        gone: those that are gone by status.
        errors: failed samples by error type.
        warnings: samples of this run that a person should check, by possible fault.
        verified: verified samples of this run, by the try that was clean, or ``left`` where none was.
        left_out: files of the source that are no samples, by kind.
        reason: why it failed.
    """

    run_id: str
    state: str
    configuration: dict[str, Any]
    weights: dict[str, Any]
    config_fingerprint: str
    samples: dict[str, int]
    errors: dict[str, int]
    left_out: dict[str, int]
    timings: dict[str, float]
    versions: dict[str, str]
    device: str
    reason: str | None = None
    warnings: dict[str, int] = field(default_factory=dict)
    verified: dict[str, int] = field(default_factory=dict)
    gone: dict[str, int] = field(default_factory=dict)

    @classmethod
    def begin(
        cls, config: JobConfig, weights: Weights, run_id: str, plan: Plan, left_out: Mapping[str, int]
    ) -> "Summary":
        """Create the summary of a run that has a plan and no results."""
        return cls(
            run_id=run_id,
            state="running",
            configuration=public_configuration(config),
            weights={
                "name": weights.name,
                "trained": weights.trained,
                "fingerprint": weights.fingerprint,
                "sha256": dict(weights.sha256),
            },
            config_fingerprint=config.fingerprint,
            samples={
                "found": plan.found,
                "without_mask": plan.without_mask,
                "gone": plan.gone,
                "forgotten": plan.forgotten,
                "done_now": 0,
                **plan.done,
            },
            gone=dict(plan.gone_statuses),
            errors=dict(plan.errors),
            left_out=dict(left_out),
            timings={"started_at": time.time()},
            versions=versions(*PACKAGES),
            device=device_name(),
        )

    @property
    def key(self) -> str:
        """Key of the summary in the sink."""
        return f"runs/{self.run_id}.json"

    @property
    def failed_fraction(self) -> float:
        """Failed samples ÷ found samples."""
        return self.samples.get(FAILED, 0) / max(self.samples["found"], 1)

    def count(self, rows: pa.Table) -> None:
        """Add newly committed rows."""
        self.samples["done_now"] += rows.num_rows
        now = RowCounts.of([rows], self.configuration["verify"]["max_residual"])
        noted = {f"{METADATA_NOTED}: {note}": number for note, number in now.notes.items()}
        for counts, found in (
            (self.samples, now.statuses),
            (self.errors, now.errors),
            (self.verified, now.verified),
            (self.warnings, noted),
        ):
            for name, number in found.items():
                counts[name] = counts.get(name, 0) + number
        mask = MaskConfig(**self.configuration["mask"])
        turned = rows.filter(pc.and_(pc.is_valid(rows["orientation"]), pc.not_equal(rows["status"], FAILED)))
        for row in turned.select(["height", "width", "orientation"]).to_pylist():
            if may_be_upright((row["height"], row["width"]), row["orientation"], mask):
                self.warnings[MAY_BE_UPRIGHT] = self.warnings.get(MAY_BE_UPRIGHT, 0) + 1

    @contextlib.contextmanager
    def kept_in(self, sink: Storage) -> Iterator[None]:
        """Write the summary to a sink now, and again with the final state when the block ends."""
        sink.write(self.key, self.to_json())
        began_s = time.monotonic()  # the wall clock may be set meanwhile
        try:
            yield
        except BaseException as error:
            state = "stopped" if isinstance(error, KeyboardInterrupt) else "failed"
            self._end(state, began_s, public_text(str(error)) or None)
            with contextlib.suppress(OSError):  # what ended the run is worth more than this
                sink.write(self.key, self.to_json())
            raise
        self._end("ended", began_s)
        sink.write(self.key, self.to_json())

    def _end(self, state: str, began_s: float, reason: str | None = None) -> None:
        self.state, self.reason = state, reason
        self.timings["run_s"] = time.monotonic() - began_s

    def to_json(self) -> bytes:
        """Serialize to indented JSON."""
        return json.dumps(asdict(self), indent=2, default=str).encode()
