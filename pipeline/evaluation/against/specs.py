"""Values of ``--against``: the kind of a filler, and where it is."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import ConfigError
from pipeline.evaluation.against.registry import FILES, OTHERS
from pipeline.evaluation.methods import Method


@dataclass(frozen=True)
class Spec:
    """A filler from elsewhere.

    Args:
        kind: a key of ``OTHERS``.
        place: absolute path, name on the hub, or ``package.module:function``.
    """

    kind: str
    place: str

    @classmethod
    def parse(cls, text: str) -> "Spec":
        """Parse ``KIND:PLACE``, or the path of an existing folder.

        Raises:
            ConfigError: any other text.
        """
        kind, colon, place = text.partition(":")
        if kind not in OTHERS or not colon:
            kind, place = "folder", text
            if not Path(text).is_dir():
                raise ConfigError(
                    f"--against must be {', '.join(f'{name}:…' for name in OTHERS)} or a folder, got {text}"
                )
        if not place:
            raise ConfigError(f"--against {text}: there must be something after the colon")
        is_path = kind in FILES or (kind == "diffusers" and Path(place).is_dir())
        return cls(kind, str(Path(place).absolute()) if is_path else place)

    @property
    def name(self) -> str:
        """Short name for tables."""
        return self.place if self.kind == "python" else Path(self.place).name


def open_others(specs: Sequence[Spec], context: float, taken: Collection[str]) -> dict[str, Method]:
    """Open fillers by their short names, or by kind and place where a name is taken.

    Args:
        specs: of the fillers.
        context: side of a window over the longest side of its hole, for models that see squares.
        taken: names of other methods.

    Raises:
        ConfigError: a filler cannot be used, or is given twice.
    """
    methods: dict[str, Method] = {}
    for spec in specs:
        name = spec.name
        if name in methods or name in taken:
            name = f"{spec.kind}:{spec.place}"
        if name in methods:
            raise ConfigError(f"--against names {name} twice")
        methods[name] = OTHERS.load(spec.kind)(spec.place, context)
    return methods
