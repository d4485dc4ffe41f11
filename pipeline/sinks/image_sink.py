"""Stores each result as a file of its own."""

import errno
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial

from pipeline.codecs.identification.kinds import has_extension
from pipeline.containers import CONTAINERS, SOURCE_OR_PNG
from pipeline.errors import SampleError
from pipeline.faults.judge import fail
from pipeline.faults.write_retries import Hold
from pipeline.records import Record
from pipeline.sinks.base import FOLDER, Outcome
from pipeline.sources.base import result_name
from pipeline.storage.storage import Storage
from pipeline.timed import Timed

_TAKEN = "another result is a file where this one needs a folder, or needs a folder where this one is a file"
_REFUSED_NAMES = {
    errno.ENAMETOOLONG: "the name of the result is too long for the disk of the sink",
    errno.ENOTDIR: _TAKEN,
    errno.EISDIR: _TAKEN,
}
EXTENSIONS = {"png": ".png", "webp": ".webp", "jpeg": ".jpg"}
_OF_PNG = next(container for container in CONTAINERS if container.name == "PNG").media_types.keys()


def result_suffix(image_format: str, sample_is_file: bool) -> Callable[[Record], str]:
    """Return a function from a row to the suffix of its result file after the sample's name.

    ``source-or-png`` appends ``.png`` to a PNG that is not called so; planning refuses samples that such a result
    would replace.

    Args:
        image_format: ``sink.image_format``.
        sample_is_file: a sample's name has an extension of its own.
    """
    if image_format in EXTENSIONS:
        return lambda record: EXTENSIONS[image_format]
    if not sample_is_file:
        return lambda record: f".{record.output_format}"
    if image_format == SOURCE_OR_PNG:
        return lambda record: _png_suffix(record.sample_id) if record.output_format == "png" else ""
    return lambda record: ""


def _png_suffix(name: str) -> str:
    return "" if has_extension(name, _OF_PNG) else EXTENSIONS["png"]


class ImageSink:
    """Stores results as single files. The name depends only on the sample, so that reprocessing replaces the file.

    ``image_format: source`` keeps the sample's own path, with the format's extension where it has none; another format
    appends its extension, so that ``a.jpg`` and ``a.png`` never end in the same file.

    Args:
        storage: of the sink.
        suffix: see :func:`result_suffix`.
        hold: retry policy while the storage accepts nothing.
        check: raises if this run no longer holds the sink; called before each result gets its name.
    """

    def __init__(
        self,
        storage: Storage,
        suffix: Callable[[Record], str],
        hold: Hold | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self.storage, self.suffix, self.hold, self.check = storage, suffix, hold or Hold(), check

    def store(self, outcomes: Iterable[Outcome]) -> float:
        """See :class:`pipeline.sinks.base.Sink`."""
        started, waited, under_way = time.perf_counter(), Timed(iter(outcomes)), deque[tuple[str, Outcome]]()

        def files() -> Iterator[tuple[str, bytes]]:
            for outcome in waited:
                if outcome.result is not None:
                    key = self._key(outcome.record)
                    under_way.append((key, outcome))
                    yield key, outcome.result

        for fault in self.storage.write_all(files(), self.check):
            key, outcome = under_way.popleft()
            fault = self.hold.retry(partial(self._write, key, outcome), fault, self.storage.is_local)
            outcome.result = None
            if fault is None:
                outcome.record.output_uri = self.storage.uri(key)
            else:
                fail(outcome.record, "write", _explained(fault, key))
        return time.perf_counter() - started - waited.spent_s

    def _write(self, key: str, outcome: Outcome) -> Exception | None:
        return next(self.storage.write_all([(key, outcome.result or b"")], self.check))

    def _key(self, record: Record) -> str:
        return f"{FOLDER}/{result_name(record.sample_id)}{self.suffix(record)}"


def _explained(fault: Exception, key: str) -> Exception:
    """Convert a disk's refusal of a name to a fault of the sample; return any other error unchanged."""
    reason = _REFUSED_NAMES.get(fault.errno or 0) if isinstance(fault, OSError) else None
    return SampleError("write", "UnusableName", f"{reason}: {key}; rename the sample") if reason else fault
