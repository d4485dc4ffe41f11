"""An S3 server that, like Amazon's, takes every key as it is; the real one of the tests makes ``a/b`` of ``a//b``."""

import contextlib
import hashlib
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, quote, unquote
from xml.sax.saxutils import escape

from tests.drill.faulty_proxy import Answer, Forward, Request, proxy, refusal

Objects = dict[str, tuple[bytes, str]]


@contextlib.contextmanager
def flat_bucket() -> Iterator[tuple[dict[str, Any], Objects]]:
    """Serve the bucket ``bucket``; yields the fsspec options that reach it, and content and type of its objects by key.

    It asks for no credentials, and lists everything in one page.
    """
    objects: Objects = {}

    def answer(request: Request, forward: Forward) -> Answer:
        path, _, query = request.path.partition("?")
        key, parameters = unquote(path).removeprefix("/bucket").removeprefix("/"), parse_qs(query)
        if "list-type" in parameters:
            return _listing(objects, parameters.get("prefix", [""])[0])
        if request.method == "PUT":
            if "If-None-Match" in request.headers and key in objects:
                return refusal(412, "PreconditionFailed")
            objects[key] = request.body, request.headers.get("Content-Type", "")
        elif request.method == "DELETE":
            objects.pop(key, None)
            return Answer(204)
        elif key not in objects:
            return refusal(404, "NoSuchKey") if request.method == "GET" else Answer(404)
        content, kind = objects[key]
        headers = {"ETag": _etag(content), "Content-Type": kind}
        if request.method == "HEAD":
            return Answer(200, b"", headers, len(content))
        if span := request.headers.get("Range"):
            start, end = span.removeprefix("bytes=").split("-")
            return Answer(206, content[int(start) : int(end) + 1], headers)
        return Answer(200, b"" if request.method == "PUT" else content, headers)

    with proxy("http://127.0.0.1:9", answer) as url:
        client = {"region_name": "us-east-1"}
        checksums = {"request_checksum_calculation": "when_required"}
        yield {
            "key": "k", "secret": "s", "endpoint_url": url, "client_kwargs": client, "config_kwargs": checksums
        }, objects  # fmt: skip


def _listing(objects: Objects, prefix: str) -> Answer:
    found = "".join(
        f"<Contents><Key>{escape(quote(key))}</Key><Size>{len(content)}</Size><ETag>{escape(_etag(content))}</ETag>"
        "<LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
        for key, (content, _) in sorted(objects.items())
        if key.startswith(prefix)
    )
    head = (
        f"<EncodingType>url</EncodingType><IsTruncated>false</IsTruncated><KeyCount>{found.count('<Key>')}</KeyCount>"
    )
    return Answer(200, f"<ListBucketResult>{head}{found}</ListBucketResult>".encode())


def _etag(content: bytes) -> str:
    return f'"{hashlib.md5(content).hexdigest()}"'
