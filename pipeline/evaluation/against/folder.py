"""Fills that another program made before: ``KIND/NAME.png`` in a folder, as ``--write-cases`` names the photos."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pipeline.codecs.decode import decode
from pipeline.codecs.identification.kinds import IMAGE_EXTENSIONS
from pipeline.config.job import LimitsConfig
from pipeline.errors import ConfigError, SampleError
from pipeline.evaluation.methods import Method, Task

Key = tuple[str, str]  # kind of mask, and name of the photo without its extension


def open_folder(place: str, context: float) -> Method:
    """Find the results in a folder.

    Args:
        place: of the folder.
        context: not used, the fills exist.

    Raises:
        ConfigError: there is no result, or two of one photo.
    """
    folder, found = Path(place), dict[Key, Path]()
    for path in _pictures(folder):
        key = path.parent.name, path.stem
        if key in found:
            raise ConfigError(
                f"--against {place}: there are two results of one photo, {found[key].name} and {path.name}"
            )
        found[key] = path
    if not found:
        raise ConfigError(
            f"--against {place}: found no results; they must be named KIND/NAME.png, such as objects/beach.png, "
            "as evaluate --write-cases names the photos"
        )

    def fill(task: Task) -> np.ndarray:
        path = found.get((task.kind, Path(task.photo).stem))
        if path is None:
            raise SampleError("read", "NoResult", f"there is no {task.kind}/{Path(task.photo).stem}.png in {place}")
        try:
            return decode(path.read_bytes(), LimitsConfig().max_pixels).rgb()
        except OSError as error:
            raise SampleError.wrap("read", error) from error

    return Method(fill, is_from_files=True)


def _pictures(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.glob("*/*")):
        if path.suffix.lower() in IMAGE_EXTENSIONS and not path.name.startswith(".") and path.is_file():
            yield path
