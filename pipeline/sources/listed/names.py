"""Names of samples from paths and uris of a list, and why some cannot be used."""

import re
from functools import lru_cache

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.sources.parquet.columns import MAX_KEY_LENGTH
from pipeline.storage.storage import Storage
from pipeline.uris import LOCAL_SCHEMES, AllowedOrigins, origin_of, public_uri, scheme_of

# What a plain relative path has not; such a row is looked at by itself.
_UNUSUAL = r"://|^/|^$|^(?i:file|local):/|(^|/)\.\.?(/|$)|\\|\x00|/$"
_PLAIN_URI = r"(?s)^(https?|s3|s3a|gs|gcs|az|abfs)://[a-z0-9][a-zA-Z0-9.-]*/([^/?#\\\x00][^?#\\\x00]*)?[^/?#\\\x00]$"
_DOT_PARTS = r"(^|/)\.\.?(/|$)"
_DOTS = re.compile(r"^(\./+)+")


class Names:
    """Turns paths and uris of a list into names of samples.

    Args:
        root: storage that paths are relative to.
        allowed: buckets and hosts that uris may lead to.
        is_exact: keys are keys of a bucket, never uris or paths as people write them.
    """

    def __init__(self, root: Storage, allowed: AllowedOrigins, is_exact: bool = False) -> None:
        self._root, self._allowed, self._is_exact = root, allowed, is_exact
        self._top = f"{root}/"
        self._fault_of_origin = lru_cache(10_000)(self._origin_fault)

    def named(self, keys: pa.Array, broken: pa.Array | None, first: str, start: int) -> list[pa.Array]:
        """Return names, files and faults of rows; the file is null where it has the name of the sample.

        Args:
            keys: paths and uris.
            broken: which of them are not UTF-8.
            first: begins the name of a row without a key.
            start: number of the first row.
        """
        inside = pc.starts_with(keys, self._top)
        if not self._is_exact and pc.any(inside).as_py():
            keys = pc.if_else(inside, pc.utf8_slice_codeunits(keys, len(self._top)), keys)
        unusual = pc.or_(pc.match_substring_regex(keys, _UNUSUAL), pc.greater(pc.binary_length(keys), MAX_KEY_LENGTH))
        unusual = pc.fill_null(unusual, True)
        names, links = keys, pa.nulls(len(keys), pa.string())
        if not self._is_exact and len(is_uri := self._plain_uris(keys)):
            names = pc.if_else(is_uri, pc.replace_substring_regex(keys, "^[a-z0-9]+://", ""), keys)
            links = pc.if_else(is_uri, keys, links)
            unusual = pc.and_not(unusual, is_uri)
        if broken is not None:
            unusual = pc.or_(unusual, broken)
        nothing = pa.nulls(len(keys), pa.string())
        rows = pc.indices_nonzero(unusual).to_numpy()
        if not len(rows):
            return [names, links, nothing]
        looked_at = [
            self._one(key.as_py(), broken is not None and broken[int(row)].as_py(), f"{first}#{start + int(row)}")
            for row, key in zip(rows, keys.take(pa.array(rows)), strict=True)
        ]
        found = [pa.array(values, pa.string()) for values in zip(*looked_at, strict=True)]
        return [
            pc.replace_with_mask(usual, unusual, values)
            for usual, values in zip((names, links, nothing), found, strict=True)
        ]

    def _plain_uris(self, keys: pa.Array) -> pa.Array:
        """Return which rows are uris of allowed hosts that name a sample as they are; an empty array if none is."""
        plain = pc.and_not(pc.match_substring_regex(keys, _PLAIN_URI), pc.match_substring_regex(keys, _DOT_PARTS))
        plain = pc.fill_null(pc.and_(plain, pc.less_equal(pc.binary_length(keys), MAX_KEY_LENGTH)), False)
        if not pc.any(plain).as_py():
            return plain.slice(0, 0)
        origins = pc.replace_substring_regex(pc.if_else(plain, keys, ""), r"(?s)^([a-z0-9]+://[^/]+/).*$", r"\1")
        allowed = [origin for origin in pc.unique(origins).to_pylist() if origin and not self._fault_of_origin(origin)]
        return pc.is_in(origins, pa.array(allowed, pa.string()))

    def _one(self, key: str | None, is_broken: bool, unnamed: str) -> tuple[str, str | None, str | None]:
        """Return name, file and fault of one row."""
        if not key:
            return unnamed, None, f"MissingKey: the list has {'an empty' if key == '' else 'no'} path here"
        if is_broken:
            return unnamed, None, f"UnusableName: {key[:200]!r} is not in UTF-8"
        if len(key) > MAX_KEY_LENGTH:
            return unnamed, None, f"UnusableName: a path has {len(key)} characters, at most {MAX_KEY_LENGTH} are taken"
        if self._is_exact:
            return key, None, _path_fault(key)
        scheme = scheme_of(key)
        if scheme in LOCAL_SCHEMES or re.match(r"(file|local):/", key, re.IGNORECASE):
            path = "/" + re.sub(r"^\w+:/*(localhost/)?", "", key)
            if not self._root.is_local:
                fault = f"ForbiddenUri: {key} is a file of the workers, which only a local root may name"
                return path.lstrip("/"), key, fault
            return path.lstrip("/"), key, _path_fault(path)
        if scheme:
            return self._linked(key, scheme, unnamed)
        if key.startswith("/") and self._root.is_local:
            return key.lstrip("/"), key, _path_fault(key)
        name = _DOTS.sub("", key)
        return name or unnamed, None, _path_fault(name)

    def _linked(self, uri: str, scheme: str, unnamed: str) -> tuple[str, str | None, str | None]:
        path = uri.partition("://")[2]
        name = re.split(r"[?#]", path, maxsplit=1)[0] if scheme in ("http", "https") else path
        name = name.rpartition("@")[2] if "@" in name.partition("/")[0] else name
        host = name.partition("/")[0]
        is_long = scheme == "hf" or host.startswith("arn:")  # whose origin has several parts
        fault = self._fault_of_origin(uri if is_long else f"{scheme}://{path.partition('/')[0]}/")
        return name if host else unnamed, uri, fault or _path_fault(name)

    def _origin_fault(self, uri: str) -> str | None:
        try:
            origin = origin_of(uri)
            if uri in self._allowed:
                return None
        except ValueError as error:
            return f"UnusableName: {error}"
        return (
            f"ForbiddenUri: {origin} is neither the bucket or host of the source nor in source.hosts; if it is meant, "
            f"add {origin} to source.hosts"
        )


def _path_fault(name: str) -> str | None:
    parts = name.split("/")
    if ".." in parts or parts[-1] in ("", ".") or "\\" in name or "\0" in name:
        return f"UnusableName: no result can be called {public_uri(name)!r} and stay inside the sink: rename the file"
    return None
