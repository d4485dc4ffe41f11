"""Kinds of files by their names: images, hidden files, and all others by extension."""

import re
from collections.abc import Collection

from pipeline.containers import CONTAINERS
from pipeline.extras import install_command, missing_packages

HEIC_EXTENSIONS = frozenset(name for container in CONTAINERS if container.extra for name in container.media_types)
HEIC_ADVICE = f"need pillow-heif: {install_command('heic')}"
_UNREADABLE = {".jp2", ".tga"}  # are found, and fail with a reason
IMAGE_EXTENSIONS = frozenset(_UNREADABLE.union(*(container.media_types for container in CONTAINERS)))
HIDDEN, NO_EXTENSION = "hidden", "without extension"
# Folders of macOS, of NAS systems and of Windows, which hold thumbnails, deleted files and earlier versions.
_TOOL_FOLDERS = frozenset(
    "__macosx @eadir @recycle @recently-snapshot @__thumb #recycle #snapshot $recycle.bin lost+found".split()  # noqa: SIM905
) | {"system volume information"}
# The same as a pattern of SQL, over whole paths without regard to case; also files whose names begin with a dot.
HIDDEN_PATH = rf"(^|/)(\.[^/]+|{'|'.join(map(re.escape, sorted(_TOOL_FOLDERS)))})(/|$)"
_EXTENSION = re.compile(r"\.(?!\d+$)[\w+-]{1,15}")


def heic_is_installed() -> bool:
    """Return whether this machine can read HEIC files (the extra ``heic``)."""
    return not missing_packages("heic")


def readable_extensions() -> frozenset[str]:
    """Return the image extensions whose files a source takes on this machine."""
    return IMAGE_EXTENSIONS if heic_is_installed() else IMAGE_EXTENSIONS - HEIC_EXTENSIONS


def has_extension(key: str, extensions: Collection[str]) -> bool:
    """Return whether the extension of a name, in any case, is one of some in lower case."""
    return key[key.rfind(".") :].lower() in extensions


def is_image(key: str) -> bool:
    """Return whether a name has an image extension and is not hidden."""
    return has_extension(key, IMAGE_EXTENSIONS) and key[key.rfind("/") + 1] != "."


def split_extension(key: str) -> tuple[str, str]:
    """Split a name into stem and image extension; what follows any other dot belongs to the stem."""
    dot = key.rfind(".") if is_image(key) else len(key)
    return key[:dot], key[dot:]


def is_hidden_folder(folder: str, hidden: tuple[str, ...] = (".",)) -> bool:
    """Return whether a path contains a hidden folder or a private one of a tool."""
    return any(
        part.lower() in _TOOL_FOLDERS or (part.startswith(hidden) and part not in (".", ".."))
        for part in folder.split("/")
    )


def kind_of(key: str) -> str:
    """Return the kind that a file counts as: its extension in lower case, both of ``.tar.zst``, else ``NO_EXTENSION``.

    >>> [kind_of(name) for name in ("a/IMG_1.HEIC", "0.tar.zst", "README", "scan.20240131", "b.jpg.")]
    ['.heic', '.tar.zst', 'without extension', 'without extension', 'without extension']
    """
    stem, dot, extension = key[key.rfind("/") + 1 :].lower().rpartition(".")
    if not stem or not _EXTENSION.fullmatch(f"{dot}{extension}"):
        return NO_EXTENSION
    return f".tar.{extension}" if stem.endswith(".tar") else f".{extension}"
