"""What a job has to do: the samples of the source against the rows of the manifest."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from pipeline.config import JobConfig
from pipeline.errors import ConfigError
from pipeline.manifest import Manifest
from pipeline.masks import MASKS, outside, without_masks
from pipeline.records import FAILED, Sample
from pipeline.sources import SOURCES
from pipeline.storage import Storage

PLAN_COLUMNS = [
    "sample_id",
    "status",
    "error_type",
    "input_version",
    "output_uri",
    "weights_fingerprint",
    "config_fingerprint",
]
NEW, CHANGED, RETRIED, REDONE = "new", "changed", "retried", "redone"


@dataclass
class Plan:
    """Samples found, those left to do and why.

    Args:
        found: samples in the source.
        found_bytes: their size.
        without_mask: samples found that have no mask file.
        gone: rows of the manifest whose sample is no longer in the source; they stay.
        todo: samples to do, in order of their id.
        reasons: how many of them are new, changed, retried or redone.
        done: how many found samples keep their row, by status.
        errors: how many of those failed, by type.
        outputs: results that the samples to do already have, by id.
    """

    found: int = 0
    found_bytes: int = 0
    without_mask: int = 0
    gone: int = 0
    todo: list[Sample] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    done: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    outputs: dict[str, str] = field(default_factory=dict)


def find_samples(config: JobConfig) -> list[Sample]:
    """List the source, in order of sample id, and pair every image with its mask.

    Raises:
        ConfigError: nothing at ``source.uri`` or ``mask.uri``, or no image that matches.
    """
    source = Storage(config.source.uri, config.storage)
    masks = MASKS[config.mask.kind](config.mask, Storage(config.mask.uri, config.storage), source)
    files = without_masks(SOURCES[config.source.format](config.source, source), source, masks)
    samples = []
    for file in outside(files, source, Storage(config.sink.uri, config.storage)):
        mask = masks.find(file.key)
        samples.append(
            Sample(
                sample_id=file.key,
                input_uri=source.uri(file.key),
                # A mask that is drawn anew, or appears at last, makes the sample a changed one.
                input_version=f"{file.version} mask:{mask.version}" if mask else file.version,
                size_bytes=file.size_bytes + (mask.size_bytes if mask else 0),
                mask_key=mask.key if mask else None,
                mask_uri=masks.storage.uri(mask.key) if mask else None,
            )
        )
    if not samples:
        raise ConfigError(f"no image below {source} matches source.pattern={config.source.pattern!r}")
    return sorted(samples, key=lambda sample: sample.sample_id)


def make_plan(config: JobConfig, samples: Sequence[Sample], weights_fingerprint: str, manifest: Manifest) -> Plan:
    """Compare the samples of a source with the rows of the manifest.

    Raises:
        ConfigError: rows of other weights or settings that ``run.redo_changed`` does not allow to replace, or rows at
            all with ``run.resume=false``.
    """
    plan = Plan(found=len(samples))
    rows = {row["sample_id"]: row for row in manifest.load(PLAN_COLUMNS).to_pylist()}
    if rows and not config.run.resume:
        raise ConfigError(
            f"run.resume=false, but {config.sink.uri} already holds {len(rows)} rows; choose another sink.uri"
        )
    current = (weights_fingerprint, config.fingerprint)
    mixed: Counter[tuple[str, str]] = Counter()
    for sample in samples:
        plan.found_bytes += sample.size_bytes
        plan.without_mask += sample.mask_uri is None
        row = rows.pop(sample.sample_id, None)
        reason = _reason(config, sample, row, current)
        if row and reason == REDONE:
            mixed[_made_by(row)] += 1
        if reason is None and row:
            plan.done[row["status"]] += 1
            plan.errors.update(filter(None, [row["error_type"]]))
        elif reason:
            plan.reasons[reason] += 1
            plan.todo.append(sample)
            if row and row["output_uri"]:
                plan.outputs[sample.sample_id] = row["output_uri"]
    plan.gone = len(rows)
    mixed.update(_made_by(row) for row in rows.values() if _made_by(row) != current)
    if mixed and not config.run.redo_changed:
        raise ConfigError(_mix_message(config, weights_fingerprint, mixed))
    return plan


def cut_units(samples: Sequence[Sample], max_samples: int, max_bytes: int) -> list[list[Sample]]:
    """Cut samples into units of work of bounded count and size; a larger sample is a unit of its own."""
    units: list[list[Sample]] = []
    size = 0
    for sample in samples:
        if not units or len(units[-1]) >= max_samples or size + sample.size_bytes > max_bytes:
            units.append([])
            size = 0
        units[-1].append(sample)
        size += sample.size_bytes
    return units


def _reason(config: JobConfig, sample: Sample, row: dict | None, current: tuple[str, str]) -> str | None:
    """Why a sample is to be done, or ``None`` if its row stands."""
    if row is None:
        return NEW
    if row["input_version"] != sample.input_version:
        return CHANGED
    if row["status"] == FAILED and config.run.retries(row["error_type"]):
        return RETRIED
    return REDONE if _made_by(row) != current else None


def _made_by(row: dict) -> tuple[str, str]:
    return row["weights_fingerprint"], row["config_fingerprint"]


def _mix_message(config: JobConfig, weights_fingerprint: str, mixed: Counter[tuple[str, str]]) -> str:
    (weights, settings), _ = mixed.most_common(1)[0]
    return (
        f"{config.sink.uri} holds {mixed.total()} rows made with weights {weights} and settings {settings}; this job "
        f"has weights {weights_fingerprint} and settings {config.fingerprint}. Do them again with "
        "run.redo_changed=true, or choose another sink.uri"
    )
