"""What a job has to do: the samples of the source against the rows of the manifest."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from pipeline.config import JobConfig
from pipeline.errors import ConfigError
from pipeline.manifest import Manifest
from pipeline.masks import MASKS, without_masks
from pipeline.records import FAILED, Sample
from pipeline.sources import SOURCES
from pipeline.storage import Storage

PLAN_COLUMNS = ["sample_id", "status", "error_type", "input_version", "weights_fingerprint", "config_fingerprint"]
NEW, CHANGED, RETRIED, REDONE = "new", "changed", "retried", "redone"


@dataclass
class Plan:
    """Samples found, those left to do and why.

    Args:
        found: samples in the source.
        found_bytes: their size.
        without_mask: samples found that have no mask file.
        todo: samples to do, in order of their id.
        reasons: how many of them are new, changed, retried or redone.
        done: how many found samples keep their row, by status.
    """

    found: int = 0
    found_bytes: int = 0
    without_mask: int = 0
    todo: list[Sample] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    done: Counter[str] = field(default_factory=Counter)


def find_samples(config: JobConfig) -> list[Sample]:
    """List the source and pair every image with its mask.

    Raises:
        ConfigError: nothing at ``source.uri`` or ``mask.uri``, or no image that matches.
    """
    source = Storage(config.source.uri, config.storage)
    files = iter(SOURCES[config.source.format](config.source, source))
    masks = MASKS[config.mask.kind](config.mask, Storage(config.mask.uri, config.storage))
    samples = []
    for file in without_masks(files, source, masks):
        mask = masks.find(file.key)
        # A mask that is drawn anew, or appears at last, makes the sample a changed one.
        version = f"{file.version} mask:{mask.version}" if mask else file.version
        samples.append(
            Sample(
                sample_id=file.key,
                input_uri=source.uri(file.key),
                input_version=version,
                size_bytes=file.size_bytes,
                mask_key=mask.key if mask else None,
                mask_uri=masks.storage.uri(mask.key) if mask else None,
            )
        )
    if not samples:
        raise ConfigError(f"no image below {source} matches source.pattern={config.source.pattern!r}")
    return sorted(samples, key=lambda sample: sample.sample_id)


def make_plan(config: JobConfig, weights_fingerprint: str, manifest: Manifest) -> Plan:
    """Compare source and manifest.

    Raises:
        ConfigError: bad uris, or rows of other weights or settings that ``run.redo_changed`` does not allow to replace.
    """
    plan = Plan()
    rows = _rows_by_sample(manifest.load(PLAN_COLUMNS))
    if rows and not config.run.resume:
        raise ConfigError(
            f"run.resume=false, but {config.sink.uri} already holds {len(rows)} rows; choose another sink.uri"
        )
    current = (weights_fingerprint, config.fingerprint)
    mixed: Counter[tuple[str, str]] = Counter()
    for sample in find_samples(config):
        plan.found += 1
        plan.found_bytes += sample.size_bytes
        plan.without_mask += sample.mask_uri is None
        row = rows.get(sample.sample_id)
        if row is None:
            reason = NEW
        elif row["input_version"] != sample.input_version:
            reason = CHANGED
        elif row["status"] == FAILED and config.run.retry_failed:
            reason = RETRIED
        elif (made_by := (row["weights_fingerprint"], row["config_fingerprint"])) != current:
            reason = REDONE
            mixed[made_by] += 1
        else:
            plan.done[row["status"]] += 1
            continue
        plan.reasons[reason] += 1
        plan.todo.append(sample)
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


def _rows_by_sample(rows: pa.Table) -> dict[str, dict]:
    return {row["sample_id"]: row for row in rows.to_pylist()}


def _mix_message(config: JobConfig, weights_fingerprint: str, mixed: Counter[tuple[str, str]]) -> str:
    (weights, settings), _ = mixed.most_common(1)[0]
    return (
        f"{config.sink.uri} holds {mixed.total()} rows made with weights {weights} and settings {settings}; this job "
        f"has weights {weights_fingerprint} and settings {config.fingerprint}. Do them again with "
        "run.redo_changed=true, or choose another sink.uri"
    )
