"""Chooses the rows of an inventory that are images below a root, as a listing of the bucket would."""

from collections.abc import Mapping
from urllib.parse import unquote_plus

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.codecs.identification.kinds import HIDDEN_PATH, has_extension, readable_extensions
from pipeline.sources.arrow_values import plain
from pipeline.sources.left_out import LeftOut
from pipeline.storage.storage import Storage, StoredFile

OUTSIDE_ROOT, OLDER, DELETED = "outside source.root", "older versions", "delete markers"
_HIDDEN = rf"(?i){HIDDEN_PATH}"


class Sieve:
    """Keeps current versions of image files below a root, and counts all other rows.

    Args:
        root: of the images; a bucket or a prefix of it, or a copy of the bucket elsewhere.
        is_encoded: keys are encoded for URLs, as in CSV.
        left_out: counts what is left out; used by several threads.
    """

    def __init__(self, root: Storage, is_encoded: bool, left_out: LeftOut) -> None:
        prefix = root.root.partition("/")[2] if root.is_s3 else ""
        self._prefix = f"{prefix}/" if prefix else ""
        self._is_encoded, self._left_out = is_encoded, left_out
        self._extensions = readable_extensions()
        self._image = rf"(?i)\.({'|'.join(name[1:] for name in sorted(self._extensions))})$"

    def kept(self, keys: pa.Array, values: Mapping[str, pa.Array]) -> tuple[pa.Array, pa.Array]:
        """Return which rows are kept, and their keys below the root.

        Args:
            keys: of all rows.
            values: other columns by role.
        """
        keys = self._decoded(keys)
        current, deleted = _is("is_latest", values, True, len(keys)), _is("is_delete_marker", values, False, len(keys))
        below = pc.starts_with(keys, self._prefix)
        is_object = pc.and_not(current, deleted)
        kept = pc.and_(is_object, below)
        self._left_out.count(DELETED, _count(deleted))
        self._left_out.count(OLDER, _count(pc.and_not(pc.invert(current), deleted)))
        self._left_out.count(OUTSIDE_ROOT, _count(pc.and_not(is_object, below)))
        keys = pc.utf8_slice_codeunits(keys, len(self._prefix))
        plain_image = pc.and_not(pc.match_substring_regex(keys, self._image), pc.match_substring_regex(keys, _HIDDEN))
        for folder in self._left_out.ignored:
            plain_image = pc.and_not(plain_image, pc.starts_with(keys, folder))
        unsure = pc.indices_nonzero(pc.and_not(kept, plain_image))
        kept = pc.and_(kept, plain_image)
        if len(unsure):  # decided and counted one by one, as in a listing
            unsure_keys = zip(keys.take(unsure).to_pylist(), unsure.to_pylist(), strict=True)
            files = [StoredFile(key, row, "") for key, row in unsure_keys]
            taken = [file.size_bytes for file in self._left_out.sift(files, self._is_taken)]
            if taken:
                rows = pa.array(range(len(keys)))
                kept = pc.or_(kept, pc.is_in(rows, pa.array(taken)))
        return kept, keys.filter(kept)

    def _decoded(self, keys: pa.Array) -> pa.Array:
        if not self._is_encoded:
            return keys
        encoded = pc.match_substring_regex(keys, "[%+]")
        if not pc.any(encoded).as_py():
            return keys
        decoded = [unquote_plus(key, errors="backslashreplace") for key in keys.filter(encoded).to_pylist()]
        return pc.replace_with_mask(keys, encoded, pa.array(decoded, pa.string()))

    def _is_taken(self, key: str) -> bool:
        return has_extension(key, self._extensions)


def _is(role: str, values: Mapping[str, pa.Array], otherwise: bool, count: int) -> pa.Array:
    """Return a column of truth values, which CSV has as text."""
    if role not in values:
        return pa.array([otherwise] * count)
    column = plain(values[role])
    if not pa.types.is_boolean(column.type):
        column = pc.equal(pc.utf8_lower(column.cast(pa.string())), "true")
    return pc.fill_null(column, otherwise)


def _count(rows: pa.Array) -> int:
    return int(pc.sum(rows).as_py() or 0)
