"""What is to be done: image files below a uri."""

import re
from collections.abc import Iterator

from pipeline.config import SourceConfig
from pipeline.errors import ConfigError
from pipeline.storage import Storage, StoredFile

IMAGE_EXTENSIONS = frozenset(
    f".{name}"
    for name in "avif bmp gif jfif jp2 jpe jpeg jpg pbm pgm png pnm ppm tga tif tiff webp".split()  # noqa: SIM905
)
EVERYTHING = "**/*"  # the pattern by default, which need not be looked at ten million times


def is_image(key: str) -> bool:
    """Whether a name has an image extension; hidden files never count."""
    return key[key.rfind(".") :].lower() in IMAGE_EXTENSIONS and key[key.rfind("/") + 1] != "."


class ImageFolder:
    """Every image file below a uri whose path matches a glob pattern (``**`` spans folders)."""

    def __init__(self, config: SourceConfig, storage: Storage) -> None:
        self.storage = storage
        self.pattern = config.pattern

    def __iter__(self) -> Iterator[StoredFile]:
        """The files, in no particular order.

        Raises:
            ConfigError: nothing lies at the uri.
        """
        if not self.storage.exists():
            raise ConfigError(f"source.uri: nothing at {self.storage}")
        try:
            matches = glob_pattern(self.pattern).fullmatch
        except re.error as error:
            raise ConfigError(f"source.pattern={self.pattern!r}: {error}") from error
        images = (file for file in self.storage.list_files() if is_image(file.key))
        return images if self.pattern == EVERYTHING else (file for file in images if matches(file.key))


_GLOB_TOKENS = {"**/": "(?:[^/]+/)*", "**": ".*", "*": "[^/]*", "?": "[^/]"}


def glob_pattern(pattern: str) -> re.Pattern[str]:
    """A glob as a regular expression: ``*`` and ``?`` stay inside a folder, ``**/`` spans any number, also none.

    >>> [bool(glob_pattern("**/*.jp?g").fullmatch(path)) for path in ("a.jpeg", "b/c/a.jpeg", "a.png")]
    [True, True, False]
    """
    tokens = re.split(r"(\*\*/|\*\*|\*|\?|\[[^]]+\])", pattern)
    return re.compile("".join(map(_glob_token, tokens)), re.DOTALL)


def _glob_token(token: str) -> str:
    if token.startswith("[") and token.endswith("]"):
        return "[^/" + token[2:] if token.startswith("[!") else token
    return _GLOB_TOKENS.get(token, re.escape(token))


SOURCES = {"images": ImageFolder}
