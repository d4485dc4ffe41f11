"""Options of storages for engines in Rust, whose object stores take other names than fsspec."""

from collections.abc import Mapping
from typing import Any

_S3 = {
    "endpoint_url": "AWS_ENDPOINT_URL",
    "key": "AWS_ACCESS_KEY_ID",
    "secret": "AWS_SECRET_ACCESS_KEY",
    "token": "AWS_SESSION_TOKEN",
    "region_name": "AWS_REGION",
    "anon": "AWS_SKIP_SIGNATURE",
}


def object_store_options(options: Mapping[str, Any]) -> dict[str, str]:
    """Convert options of fsspec; those with other names are passed on as text.

    Args:
        options: of a storage, such as ``endpoint_url``; mappings such as ``client_kwargs`` count as their parts.
    """
    flat = dict(options)
    for part in options.values():
        flat |= part if isinstance(part, Mapping) else {}
    found = {_S3.get(name, name): _text(value) for name, value in flat.items() if not isinstance(value, Mapping)}
    if found.get("AWS_ENDPOINT_URL", "").startswith("http://"):
        found["AWS_ALLOW_HTTP"] = "true"
    return found


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
