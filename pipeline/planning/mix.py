"""Refuses a mix of results of several settings or weights, and says in which keys they differ."""

import json
from collections.abc import Mapping
from typing import Any

from pipeline.config.job import JobConfig
from pipeline.config.public import deciding_keys, public_configuration
from pipeline.database import Database
from pipeline.errors import ConfigError
from pipeline.planning.reasons import REDONE
from pipeline.storage.storage import Storage

MAX_RUNS = 50  # that are looked at, the newest first
MAX_VALUE_LENGTH = 60  # of a value in a message


def refuse_mix(config: JobConfig, weights_fingerprint: str, database: Database, sink: Storage) -> None:
    """Refuse a job whose sink holds rows of other weights or settings.

    Args:
        config: the job.
        weights_fingerprint: of its weights.
        database: with the table ``planned``.
        sink: whose ``runs/`` say how rows were made.

    Raises:
        ConfigError: naming the keys that differ where a run in the sink tells, else the fingerprints.
    """
    mixed = database.run(_MIXED)
    if not mixed:
        return
    weights, settings, _ = mixed[0]
    differences = _differences(config, weights_fingerprint, _run_of(sink, weights, settings))
    count = sum(count for *_, count in mixed)
    if differences:
        most = "" if len(mixed) == 1 else ", of most of them"
        made = f"rows made with other settings{most}: {differences}"
    else:
        made = (
            f"rows made with weights {weights} and settings {settings}; this job has weights {weights_fingerprint} and "
            f"settings {config.fingerprint}"
        )
    raise ConfigError(
        f"{config.sink.uri} holds {count} {made}. Do them again with run.redo_changed=true, some of them with "
        "run.select, or choose another sink.uri"
    )


def _run_of(sink: Storage, weights: str | None, settings: str | None) -> Mapping[str, Any]:
    """Return the summary of the newest run with these fingerprints; empty if there is none that can be read."""
    try:
        keys = sorted((file.key for file in sink.list_files("runs") if file.key.endswith(".json")), reverse=True)
        for key in keys[:MAX_RUNS]:
            summary = json.loads(sink.read(key))
            made_with = summary["weights"]["fingerprint"], summary["config_fingerprint"]
            if made_with == (weights, settings) and isinstance(summary["configuration"], Mapping):
                return dict(summary)
    except (OSError, ValueError, LookupError, TypeError):  # deleted, or by another hand
        pass
    return {}


def _differences(config: JobConfig, weights_fingerprint: str, run: Mapping[str, Any]) -> str:
    """Return the keys that decide results and differ, such as ``model.steps 4 → 20``: of the rows → of this job."""
    if not run:
        return ""
    before, now, usual = run["configuration"], public_configuration(config), public_configuration(JobConfig())
    found = []
    if (weights := run["weights"]["fingerprint"]) != weights_fingerprint:
        names = [_value(settings, "model.weights", usual) for settings in (before, now)]
        others = f"{names[1]} (other files, {weights} → {weights_fingerprint})"
        found.append(f"model.weights {others if names[0] == names[1] else ' → '.join(names)}")
    for key in deciding_keys(config):
        values = [_value(settings, key, usual) for settings in (before, now)]
        if values[0] != values[1]:
            found.append(f"{key} {' → '.join(map(_shortened, values))}")
    return ", ".join(found)


def _value(settings: Mapping[str, Any], key: str, usual: Mapping[str, Any]) -> str:
    """Return the value of a key as in a configuration; a key that an older run did not have was at its default."""
    section, _, name = key.partition(".")
    known = settings.get(section)
    value = (known if isinstance(known, Mapping) else {}).get(name, usual[section][name])
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _shortened(value: str) -> str:
    return value if len(value) <= MAX_VALUE_LENGTH else f"{value[:MAX_VALUE_LENGTH]}…"


# Rows that would be kept, or redone without request, beside those of this job. Rows of samples that are gone count only
# while this job has none: else ``run.redo_changed`` has put the two beside each other already.
_MIXED = f"""
SELECT weights_fingerprint, config_fingerprint, count(*) FROM planned
WHERE has_row AND other
AND (reason = '{REDONE}' OR NOT found AND NOT EXISTS (SELECT 1 FROM planned WHERE has_row AND NOT other))
GROUP BY ALL ORDER BY 3 DESC"""
