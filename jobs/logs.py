"""How the lines of a job's log look: text for people, a JSON object each for collectors of logs; secrets in neither."""

import json
import logging
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

TEXT, TIME = "%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"
MOST_OF_A_KIND = 10  # failed samples that are told of one by one; the manifest has all of them

_SECRET = re.compile("secret|token|key|password|credential|connection_string", re.IGNORECASE)
_SHORTEST_SECRET = 6  # characters; shorter ones stand in ordinary words
_OWN_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

logger = logging.getLogger(__name__)


class TextLines(logging.Formatter):
    """Lines for people, without the secrets of a configuration."""

    def __init__(self, storage: Mapping[str, Any]) -> None:
        super().__init__(TEXT, TIME)
        self._secrets = sorted(set(_secrets(storage)), key=len, reverse=True)

    def format(self, record: logging.LogRecord) -> str:
        """Of a record, the line."""
        return self._hidden(super().format(record))

    def _hidden(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


class JsonLines(TextLines):
    """A JSON object a line: time, level, logger, message, the run's id, and what else is said of a sample."""

    def __init__(self, storage: Mapping[str, Any], run_id: str) -> None:
        super().__init__(storage)
        self.run_id = run_id

    def format(self, record: logging.LogRecord) -> str:
        """Of a record, the line."""
        fields = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "run_id": self.run_id,
            **{name: value for name, value in vars(record).items() if _is_said(name)},
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        hidden = {name: self._hidden(value) if isinstance(value, str) else value for name, value in fields.items()}
        return json.dumps(hidden, ensure_ascii=False, default=str)


def set_up_log(form: str, storage: Mapping[str, Any], run_id: str) -> None:
    """From here on, write the log as ``run.log`` says: ``text`` or ``json``."""
    formatter = JsonLines(storage, run_id) if form == "json" else TextLines(storage)
    for handler in logging.getLogger().handlers:
        handler.setFormatter(formatter)


class FailureLog:
    """Tells of failed samples as their rows are committed, of each kind the first few."""

    def __init__(self) -> None:
        self._told: Counter[str] = Counter()

    def update(self, rows: pa.Table) -> None:
        """Look at newly committed rows."""
        failed = rows.filter(pc.equal(rows["status"], "failed"))
        for kind in failed["error_type"].unique().to_pylist():
            left = MOST_OF_A_KIND - self._told[kind]
            of_kind = failed.filter(pc.equal(failed["error_type"], kind))
            self._told[kind] += of_kind.num_rows
            for row in of_kind.slice(0, max(left, 0)).to_pylist():
                _tell(row)
            if 0 <= left < of_kind.num_rows:
                logger.warning("more samples failed by %s; the manifest has them all", kind, extra={"error_type": kind})


def _is_said(name: str) -> bool:
    """Whether a field of a record was given by whoever logged it; Ray adds fields that begin with an underscore."""
    return name not in _OWN_FIELDS and not name.startswith("_")


def _tell(row: Mapping[str, Any]) -> None:
    said = {name: row[name] for name in ("sample_id", "error_stage", "error_type", "worker")}
    # One line, whatever is in names and messages.
    name, message = (str(row[key]).encode("unicode_escape").decode() for key in ("sample_id", "error_message"))
    logger.warning("sample %s failed: %s, %s: %s", name, row["error_stage"], row["error_type"], message, extra=said)


def _secrets(options: Mapping[str, Any], inside: bool = False) -> Iterator[str]:
    """Texts in options of a storage whose names say that they are secrets, however deep."""
    for name, value in options.items():
        is_secret = inside or bool(_SECRET.search(str(name)))
        if isinstance(value, Mapping):
            yield from _secrets(value, is_secret)
        elif is_secret and isinstance(value, str) and len(value) >= _SHORTEST_SECRET:
            yield value
