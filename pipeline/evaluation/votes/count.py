"""Counts the votes that people saved: how often each method is preferred."""

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import ConfigError
from pipeline.evaluation.votes.pairs import unseal
from pipeline.report.formatting import shown
from pipeline.verdicts.rates import Rate, wilson

LEFT, RIGHT, EQUAL = "left", "right", "equal"
MAX_BYTES = 100_000_000  # of a file of votes


@dataclass(frozen=True)
class Preference:
    """How often a method is preferred.

    Args:
        method: its name.
        other: the method that it is compared with; empty for all of them.
        won, lost, equal: votes.
        rate: share of votes won, one for ``equal`` counting half, with Wilson's interval of 95 %.
    """

    method: str
    other: str
    won: int
    lost: int
    equal: int
    rate: Rate


def count_votes(paths: Sequence[Path]) -> list[Preference]:
    """Count votes, the most preferred method first, each overall and against every other one.

    Raises:
        ConfigError: a file holds no votes, or none at all were given.
    """
    tally: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0, 0])  # won, lost, equal
    for path in paths:
        for winner, loser, is_equal in _read(path):
            for method, other, place in ((winner, loser, 0), (loser, winner, 1)):
                for key in ((method, other), (method, "")):
                    tally[key][2 if is_equal else place] += 1
    if not tally:
        raise ConfigError("--votes: nobody has voted in these files")
    found = [_preference(method, other, *counts) for (method, other), counts in tally.items()]
    overall = {each.method: each.rate.value for each in found if not each.other}
    return sorted(found, key=lambda each: (-overall[each.method], each.method, each.other))


def _preference(method: str, other: str, won: int, lost: int, equal: int) -> Preference:
    size = won + lost + equal
    return Preference(method, other, won, lost, equal, wilson((won + equal / 2) / size, size))


def _read(path: Path) -> Iterator[tuple[str, str, bool]]:
    """Yield the preferred method, the other, and whether they are equal."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(f"--votes: {path} has more than {MAX_BYTES} bytes")
        for vote in json.loads(path.read_text(encoding="utf-8"))["votes"]:
            pair, choice = unseal(vote["pair"]), vote["choice"]
            if choice not in (LEFT, RIGHT, EQUAL):
                raise ValueError(f"a choice must be {LEFT}, {RIGHT} or {EQUAL}, got {choice}")
            yield (pair.right, pair.left, False) if choice == RIGHT else (pair.left, pair.right, choice == EQUAL)
    except OSError as error:
        raise ConfigError(f"--votes: cannot read {path}: {error.strerror}") from error
    except ConfigError:
        raise
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ConfigError(f"--votes: {path} is not a file of votes that the page saved: {shown(error)}") from error
