"""Faults of storages: a full disk, and what S3 answers for a while."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.drill.faulty_proxy import Weather
from tests.drill.field import Field

WEATHER_S = 15.0  # of a storm
FULL_S = 15.0  # of a disk


def fill_disk(field: Field) -> bool:
    """Fill the disk of the sink, and make room again."""
    if field.disk is None:
        return False
    ballast = field.disk / "ballast"
    with _ballast(ballast):
        field.wait(FULL_S)
    return True


@contextlib.contextmanager
def _ballast(path: Path) -> Iterator[None]:
    with contextlib.suppress(OSError), path.open("ab", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    try:
        yield
    finally:
        path.unlink()


def change_weather(weather: Weather) -> Callable[[Field], bool]:
    """Return a fault that lets S3 answer in one way for a while."""

    def change(field: Field) -> bool:
        field.weather = weather
        field.wait(WEATHER_S)
        field.weather = Weather.FAIR
        return True

    change.__doc__ = f"For {WEATHER_S:g} s {weather.value}."
    return change
