"""Uniform errors of storages, independent of their clients."""

import contextlib
import errno
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from pipeline.errors import ConfigError, SampleError
from pipeline.uris import public_text

R = TypeVar("R")
PRECONDITION_FAILED = 412
_PASSING_STATUSES = (408, 409, 429)  # a time-out, a conflict with another request, too many of them
_NO_CREDENTIALS = ("NoCredentialsError", "PartialCredentialsError", "ProfileNotFound")  # of botocore
_REFUSED_CREDENTIALS = (  # codes of S3
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidToken",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
)
_UNUSABLE_NUMBERS = (errno.EROFS, errno.ENAMETOOLONG, errno.ELOOP)


class FileChangedError(OSError):
    """A file has changed since it was listed."""


class IncompleteReadError(OSError):
    """A server sent only a part of a file; the file itself may be intact."""


class ConditionRefusedError(OSError):
    """A storage does not support conditional requests, such as "create only if absent"."""


class CredentialsError(OSError):
    """Credentials are missing or no longer valid; this is no fault of the requested file."""


_UNUSABLE = (
    FileNotFoundError,
    FileExistsError,
    NotADirectoryError,
    IsADirectoryError,
    PermissionError,
    CredentialsError,
)


@contextlib.contextmanager
def answering(refusal: type[OSError] = FileExistsError) -> Iterator[None]:
    """Translate errors of remote file systems and their network clients to ``OSError``.

    Args:
        refusal: the error that an unmet condition of the request means.
    """
    try:
        yield
    except OSError as error:
        if http_status(error) == PRECONDITION_FAILED:  # how s3fs reports some servers' "it exists"
            raise refusal(*error.args) from error
        if (code := _answer(error).get("Error", {}).get("Code")) in _REFUSED_CREDENTIALS:
            raise CredentialsError(errno.EACCES, f"{code}: {error.strerror or error}") from error
        raise
    except (ValueError, SampleError):
        raise
    except Exception as error:
        if type(error).__name__ in _NO_CREDENTIALS:
            raise CredentialsError(
                errno.EACCES,
                f"{error}: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE; a public bucket needs "
                "storage.anon=true",
            ) from error
        raise OSError(public_text(f"{type(error).__name__}: {error}")) from error


@contextlib.contextmanager
def usable(subject: str | None = None) -> Iterator[None]:
    """Raise a missing path, one that is no folder, or one without permission as a fault of the configuration.

    Args:
        subject: begins the message; by default the path that the system names.

    Raises:
        ConfigError: it is one of these.
    """
    try:
        yield
    except OSError as error:
        if not isinstance(error, _UNUSABLE) and error.errno not in _UNUSABLE_NUMBERS:
            raise
        named = subject or error.filename
        reason = error.strerror or str(error)
        if isinstance(error, PermissionError) and error.strerror is None:  # s3fs says no more than "Forbidden"
            reason = f"{reason}: source.uri, mask.uri, sink.uri or model.weights is not open to these credentials"
        raise ConfigError(f"{named}: {reason}" if named else reason) from error


def attempt(work: Callable[..., R], *given: Any) -> tuple[R | None, Exception | None]:
    """Call a function, and return its result and its exception."""
    try:
        return work(*given), None
    except Exception as error:  # noqa: BLE001 - the caller's to judge
        return None, error


def http_status(error: OSError) -> int | None:
    """Return the HTTP status of an s3fs error."""
    return _answer(error).get("ResponseMetadata", {}).get("HTTPStatusCode")


def is_refused_request(error: OSError) -> bool:
    """Return whether a server refused the request permanently."""
    status = http_status(error)
    return status is not None and 400 <= status < 500 and status not in _PASSING_STATUSES


def _answer(error: OSError) -> Mapping[str, Any]:
    """Return the S3 response behind an s3fs error; clients of other storages keep objects of their own there."""
    response = getattr(error.__cause__, "response", None)
    return response if isinstance(response, Mapping) else {}
