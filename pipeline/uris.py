"""Parses uris: hides their secrets, and finds the origin (bucket, host or repository) that they lead to."""

import re
from collections.abc import Iterable
from contextlib import suppress
from urllib.parse import unquote, urlsplit

HIDDEN = "***"
DEFAULT_PORTS = {"http": 80, "https": 443}
LOCAL_SCHEMES = ("file", "local")
_ALIASES = {"s3a": "s3", "gcs": "gs"}
_SECRET_NAME = re.compile(
    r"sig|token|secret|passw|pwd|key|cred|auth|session|policy|code|access|jwt|mac$|hash|ticket|x-(amz|goog)-|^(s[aetvpr]|md5|e|oh|oe)$",
    re.IGNORECASE,
)
_OPAQUE_VALUE = re.compile(r"[\w+/=~.-]{32,}")  # as signatures and tokens are
_PARAMETER = re.compile(r"([?&;#])([^=&;#?]*)=([^&;#]*)")
_URI_IN_TEXT = re.compile(r"(?<![A-Za-z0-9+.-])[A-Za-z][A-Za-z0-9+.-]{0,31}://[^\s'\"<>]+")
_PARAMETER_IN_TEXT = re.compile(r"([?&])([^=&;#?\s'\"<>]+)=([^&;#\s'\"<>]+)")
_USER = re.compile(r"(://)[^/?#]*@")


def public_uri(uri: str) -> str:
    """Return a uri without user name and password, and with secret parameters of an http(s) query hidden."""
    scheme = scheme_of(uri)
    if not scheme or not set("@?#;") & set(uri):
        return uri
    if scheme not in DEFAULT_PORTS:  # "?" is a character of a name, and "@" may stand behind a container
        user, at, _ = uri.partition("://")[2].partition("/")[0].rpartition("@")
        return uri.replace(f"{user}{at}", f"{HIDDEN}@", 1) if ":" in user else uri
    try:
        _ = urlsplit(uri).port
    except ValueError:  # a password that is not escaped, or no uri at all
        return f"{scheme}://{HIDDEN}"
    return _PARAMETER.sub(_hidden_parameter, _USER.sub(rf"\1{HIDDEN}@", uri, count=1))


def public_text(text: str) -> str:
    """Return a message with each uri in it as :func:`public_uri` shows it."""
    if "://" not in text and "=" not in text:
        return text
    return _PARAMETER_IN_TEXT.sub(_hidden_parameter, _URI_IN_TEXT.sub(lambda found: public_uri(found[0]), text))


def _hidden_parameter(found: re.Match[str]) -> str:
    before, name, value = found.groups()
    is_secret = _SECRET_NAME.search(unquote(name)) or _OPAQUE_VALUE.fullmatch(unquote(value))
    return f"{before}{name}={HIDDEN if is_secret else value}"


def scheme_of(uri: str) -> str:
    """Return the scheme of a uri in lower case, an empty text for a path."""
    scheme, separator, _ = uri.partition("://")
    return scheme.lower() if separator else ""


def protocol_of(uri: str) -> str:
    """Return the scheme of a uri, one for all spellings: ``s3`` for ``s3a``."""
    scheme = scheme_of(uri)
    return _ALIASES.get(scheme, scheme)


def origin_of(uri: str) -> str:
    """Return the bucket, host or repository that a uri leads to, spelt in one way.

    >>> origin_of("https://CDN.example.com:443/a.png?v=1"), origin_of("s3a://bucket/a/b.png")
    ('https://cdn.example.com', 's3://bucket')

    Raises:
        ValueError: it leads to none.
    """
    scheme = protocol_of(uri)
    if scheme in DEFAULT_PORTS:
        return f"{scheme}://{_host(uri, DEFAULT_PORTS[scheme])}"
    parts = uri.partition("://")[2].split("/")
    origin = "/".join(parts[: _origin_parts(scheme, parts[0])])
    if not scheme or not origin or ".." in parts or "::" in uri:
        raise ValueError(f"{public_uri(uri)!r} names no bucket or host")
    return f"{scheme}://{origin}"


def is_origin(uri: object) -> bool:
    """Return whether a value is a uri of a whole bucket, host or repository, and of nothing in it."""
    try:
        origin = origin_of(uri) if isinstance(uri, str) else ""
    except ValueError:
        return False
    name = str(uri).partition("://")[2].rstrip("/")
    is_whole = not set("/?#@") & set(name) if scheme_of(origin) in DEFAULT_PORTS else name in origin
    return bool(origin) and is_whole


def _host(uri: str, default_port: int) -> str:
    try:
        parts = urlsplit(uri)
        host, port = (parts.hostname or "").rstrip("."), parts.port
        host = f"[{host}]" if ":" in host else host.encode("idna").decode()
    except ValueError as error:  # whose text may hold a part of a password
        raise ValueError(f"{public_uri(uri)!r} names no host") from error
    if not host or re.search(r"[\s\\\x00-\x1f]", parts.netloc):
        raise ValueError(f"{public_uri(uri)!r} names no host")
    return host if port in (None, default_port) else f"{host}:{port}"


def _origin_parts(scheme: str, first: str) -> int:
    """Return how many parts of a path name what credentials are given for."""
    if scheme == "hf":
        return 3 if first in ("datasets", "spaces", "buckets") else 2
    return 2 if first.startswith("arn:") else 1  # an access point's name follows a slash


class AllowedOrigins:
    """Buckets and hosts that uris in tables may lead to.

    Args:
        own_uris: whose own origins are among them: of the source, and of masks.
        hosts: more of them, ``source.hosts``.
    """

    def __init__(self, own_uris: Iterable[str], hosts: Iterable[str]) -> None:
        self._origins = {origin_of(host) for host in hosts}
        for uri in own_uris:
            with suppress(ValueError):  # a local one has none
                self._origins.add(origin_of(uri))

    def __contains__(self, uri: str) -> bool:
        return origin_of(uri) in self._origins
