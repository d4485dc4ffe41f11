"""What goes wrong with storages, as one kind of error whatever their clients raise."""

import contextlib
from collections.abc import Iterator

from pipeline.errors import SampleError

PRECONDITION_FAILED = 412


class FileChangedError(OSError):
    """A file that is another than when it was listed."""


@contextlib.contextmanager
def answering(refusal: type[OSError] = FileExistsError) -> Iterator[None]:
    """Translate the errors of remote file systems: those of their network clients are no ``OSError``.

    Args:
        refusal: what an unmet condition of the request means.
    """
    try:
        yield
    except OSError as error:
        if _status(error) == PRECONDITION_FAILED:  # how s3fs reports some servers' "it exists"
            raise refusal(*error.args) from error
        raise
    except (ValueError, SampleError):
        raise
    except Exception as error:
        raise OSError(f"{type(error).__name__}: {error}") from error


def _status(error: OSError) -> int | None:
    """HTTP status behind an error of s3fs."""
    response = getattr(error.__cause__, "response", {})
    return response.get("ResponseMetadata", {}).get("HTTPStatusCode")
