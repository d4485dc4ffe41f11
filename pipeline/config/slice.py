"""A slice of a sink: the part of its samples that one of several drivers processes."""

import hashlib
import re
from dataclasses import dataclass

from pipeline.errors import ConfigError

MAX_COUNT = 10_000
_TEXT = re.compile(r"(\d{1,5})(?:/|-of-)(\d{1,5})")
_HASH_DIGITS = 8


@dataclass(frozen=True, order=True)
class Slice:
    """One of ``count`` slices, counted from 0.

    Args:
        count: number of slices.
        index: which one.
    """

    count: int
    index: int

    @classmethod
    def parse(cls, text: str) -> "Slice":
        """Parse ``2/8``, or ``2-of-8`` as in names of files.

        Raises:
            ConfigError: it is another text, or the index is not below the count.
        """
        found = _TEXT.fullmatch(text)
        if found and int(found[1]) < int(found[2]) <= MAX_COUNT:
            return cls(int(found[2]), int(found[1]))
        raise ConfigError(f"run.slice must be null or INDEX/COUNT with INDEX in 0 … COUNT-1, such as 0/8, got {text!r}")

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    @property
    def file_name(self) -> str:
        """The slice in names of files: ``2-of-8``."""
        return f"{self.index}-of-{self.count}"

    def holds(self, name: str) -> bool:
        """Return whether a sample or shard of this name belongs to the slice."""
        return int(hashlib.sha256(name.encode()).hexdigest()[:_HASH_DIGITS], 16) % self.count == self.index

    def holds_sql(self, name: str) -> str:
        """Return the SQL expression that equals :meth:`holds` for an expression of a name."""
        return f"('0x' || left(sha256({name}), {_HASH_DIGITS}))::UBIGINT % {self.count} = {self.index}"
