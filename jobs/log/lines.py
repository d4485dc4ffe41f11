"""Log lines as text or as JSON objects, with secrets hidden."""

import json
import logging
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from pipeline.report.formatting import shown_lines
from pipeline.uris import public_text

_TEXT, _TIME = "%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"

_SECRET = re.compile("secret|token|key|pass|credential|connection_string|auth|sas|signature|cookie", re.IGNORECASE)
_MIN_SECRET_LENGTH = 6  # characters; shorter secrets also occur in ordinary words
_STANDARD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class TextLines(logging.Formatter):
    """Formats a record as text, with secrets of the storage options hidden and invisible characters escaped.

    Args:
        storage: storage options of the job.
    """

    def __init__(self, storage: Mapping[str, Any]) -> None:
        super().__init__(_TEXT, _TIME)
        self._secrets = sorted(set(_secrets(storage)), key=len, reverse=True)

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        return shown_lines(self._hidden(super().format(record)))

    def _hidden(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return public_text(text)


class JsonLines(TextLines):
    """Formats a record as a JSON object: time, level, logger, message, run id, and the extra fields of the record.

    Args:
        storage: storage options of the job.
        run_id: id of the run.
    """

    def __init__(self, storage: Mapping[str, Any], run_id: str) -> None:
        super().__init__(storage)
        self.run_id = run_id

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        fields = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "run_id": self.run_id,
            **{name: value for name, value in vars(record).items() if _is_extra(name)},
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        hidden = {name: self._hidden(value) if isinstance(value, str) else value for name, value in fields.items()}
        return json.dumps(hidden, ensure_ascii=False, default=str)


def set_up_log(form: str, storage: Mapping[str, Any], run_id: str) -> None:
    """Set the format of the log to that of ``run.log``: ``text`` or ``json``."""
    formatter = JsonLines(storage, run_id) if form == "json" else TextLines(storage)
    for handler in logging.getLogger().handlers:
        handler.setFormatter(formatter)


def _is_extra(name: str) -> bool:
    """Return whether the caller added a field to a record; Ray adds fields that begin with an underscore."""
    return name not in _STANDARD_FIELDS and not name.startswith("_")


def _secrets(options: Any, is_secret: bool = False) -> Iterator[str]:
    """Yield the values, at any depth, of storage options whose names say that they are secret."""
    if isinstance(options, Mapping):
        for name, value in options.items():
            yield from _secrets(value, is_secret or bool(_SECRET.search(str(name))))
    elif isinstance(options, list | tuple):
        for value in options:
            yield from _secrets(value, is_secret)
    elif is_secret and len(text := str(options)) >= _MIN_SECRET_LENGTH:  # YAML reads a password of digits as a number
        yield text
