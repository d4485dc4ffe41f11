"""How the lines of a job's log look: text for people, a JSON object each for collectors of logs; secrets in neither."""

import json
import logging
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from pipeline.uris import public_text

TEXT, TIME = "%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"

_SECRET = re.compile("secret|token|key|pass|credential|connection_string|auth|sas|signature|cookie", re.IGNORECASE)
_SHORTEST_SECRET = 6  # characters; shorter ones stand in ordinary words
_OWN_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


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
        return public_text(text)


class JsonLines(TextLines):
    """A JSON object a line: time, level, logger, message, the run's id, and what else is said of a sample."""

    def __init__(self, storage: Mapping[str, Any], run_id: str) -> None:
        super().__init__(storage)
        self.run_id = run_id

    def format(self, record: logging.LogRecord) -> str:
        """Of a record, the line."""
        fields = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
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


def _is_said(name: str) -> bool:
    """Whether a field of a record was given by whoever logged it; Ray adds fields that begin with an underscore."""
    return name not in _OWN_FIELDS and not name.startswith("_")


def _secrets(options: Any, is_secret: bool = False) -> Iterator[str]:
    """Values in options of a storage that stand, however deep, under a name that says that they are secrets."""
    if isinstance(options, Mapping):
        for name, value in options.items():
            yield from _secrets(value, is_secret or bool(_SECRET.search(str(name))))
    elif isinstance(options, list | tuple):
        for value in options:
            yield from _secrets(value, is_secret)
    elif is_secret and len(text := str(options)) >= _SHORTEST_SECRET:  # a password of digits alone is a number in YAML
        yield text
