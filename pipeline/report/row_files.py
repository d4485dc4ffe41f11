"""Reads the input and result files of manifest rows, as far as they still exist."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pipeline.config.job import MaskConfig
from pipeline.errors import SampleError
from pipeline.masks.corrected import settings_of
from pipeline.report.formatting import shown
from pipeline.report.inspector import NO_LIMIT, Inspector, config_of_run
from pipeline.sinks.results import read_result
from pipeline.sources.inputs import Inputs
from pipeline.storage.storage import Storage


@dataclass(frozen=True)
class RowFiles:
    """The files of one sample, as far as they could be read.

    Args:
        inputs: image and mask as stored, ``None`` if they are gone.
        mask: how the mask is read; ``None`` if it cannot be.
        result: the encoded image, ``None`` if there is none.
        missing: why files are missing; empty otherwise.
    """

    inputs: Inputs | None = None
    mask: MaskConfig | None = None
    result: bytes | None = None
    missing: str = ""


class RowFilesReader:
    """Reads inputs and results of some rows of a sink; may be called from several threads.

    Args:
        sink: contains the rows. It may have been moved: results are read only below it.
        storage_options: of the sink and of the source.
        rows: that will be requested.
        max_s: time limit in seconds, after which nothing is read.
        max_pixels: files of larger photos are not read.
    """

    def __init__(
        self,
        sink: Storage,
        storage_options: Mapping[str, Any],
        rows: Sequence[Mapping[str, Any]],
        max_s: float = math.inf,
        max_pixels: int = NO_LIMIT,
    ) -> None:
        self.sink, self.options = sink, storage_options
        self.deadline, self.max_pixels = time.monotonic() + max_s, max_pixels
        names = {row["sample_id"] for row in rows}
        self.sinks: dict[str, str] = {}  # as the runs knew them
        self.runs = {run_id: self._open(run_id, names) for run_id in {row["run_id"] for row in rows}}

    def read(self, row: Mapping[str, Any]) -> RowFiles:
        """Read the files of one row; unreadable ones are omitted with the reason."""
        if row["error_stage"] == "read":  # then as now, and the row says why
            return RowFiles()
        pixels = (row["width"] or 0) * (row["height"] or 0)
        if pixels > self.max_pixels:
            return RowFiles(missing=f"a photo of {pixels / 1e6:.0f} megapixels is too large for a picture here")
        if time.monotonic() > self.deadline:
            return RowFiles(missing="no picture: reading those before it took too long")
        run, missing = self.runs[row["run_id"]], []
        inputs = result = None
        try:
            if isinstance(run, Exception):
                raise run
            inputs = run.inputs(row)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one sample or run, the others are shown
            if getattr(error, "message", None) != row["error_message"] or not row["error_message"]:  # else it is known
                missing.append(f"the input cannot be shown: {reason(error)}")
        try:
            if row["output_uri"] is not None:
                result = read_result({**row, "output_uri": self._result_uri(row)}, self.options)
        except Exception as error:  # noqa: BLE001 - as above
            missing.append(f"the result cannot be shown: {reason(error)}")
        mask = None if isinstance(run, Exception) or inputs is None else settings_of(inputs, run.config.mask)
        if not isinstance(run, Exception) and run.is_code and not (inputs and inputs.is_corrected):
            mask = None
            missing.append("the mask cannot be shown: it was made by a function, which is not called here")
        return RowFiles(inputs, mask, result, "; ".join(missing))

    def _open(self, run_id: str, names: set[str]) -> Inspector | Exception:
        try:
            config = config_of_run(self.sink, run_id, self.options)
            self.sinks[run_id] = config.sink.uri
            here = replace(config.sink, uri=str(self.sink))  # where reviews with corrected masks are now
            return Inspector(replace(config, sink=here), names)
        except Exception as error:  # noqa: BLE001 - a run by other code than this, or whose source is gone
            return error

    def _result_uri(self, row: Mapping[str, Any]) -> str:
        """Return the current uri of a result."""
        output_uri, was = row["output_uri"], self.sinks.get(row["run_id"])
        for root in [self.sink, *([Storage(was, self.options)] if was else [])]:
            if root.holds(output_uri):
                key = root.key(output_uri)
                self.sink.path(key)  # refuses names that lead out of the sink
                return self.sink.uri(key)
        raise ValueError(f"{output_uri} is not in this sink")


def reason(error: Exception) -> str:
    """Describe an error in one short line."""
    text = error.message if isinstance(error, SampleError) else f"{type(error).__name__}: {error}"
    return shown(text.strip())[:200]
