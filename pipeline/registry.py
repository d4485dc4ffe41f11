"""Tables of implementations by name, each of which is imported when it is first asked for."""

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any


class Registry(Mapping[str, str]):
    """Implementations by the name that a configuration gives them.

    The table holds only text, so that the configuration, which checks names, imports none of the implementations.

    Args:
        package: that the modules are in.
        places: by name, module and class in it, such as ``paired.PairedMasks``.
    """

    def __init__(self, package: str, places: Mapping[str, str]) -> None:
        self._package, self._places = package, places

    def __getitem__(self, name: str) -> str:
        return f"{self._package}.{self._places[name]}"

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def load(self, name: str) -> Any:
        """Import and return an implementation."""
        module, _, attribute = self[name].rpartition(".")
        return getattr(import_module(module), attribute)
