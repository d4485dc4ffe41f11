"""Tests a worker by processing a known-good sample or a generated picture.

The result is stored below ``.staging/`` and deleted again, so that the test covers reading, decoding, the model,
encoding and writing. A generated picture covers all of these except reading and writing.
"""

import contextlib
import io
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image

from moebius.windows import plan_windows
from pipeline.codecs.decode import decode
from pipeline.errors import SampleError
from pipeline.faults.judge import fail, is_undone
from pipeline.records import OK, Record
from pipeline.sinks.base import Outcome
from pipeline.sources.inputs import Sample
from pipeline.storage.local import STAGING
from pipeline.storage.storage import Storage
from pipeline.worker.actor import InpaintActor
from pipeline.worker.sample import finish
from pipeline.worker.sample_job import SampleJob

SIDE_PX = 96


@dataclass(frozen=True)
class Proof:
    """Result of testing a worker.

    Args:
        fault: the row of the known-good sample that failed; ``None`` where the worker works.
        with_storage: whether reading and writing were tested as well.
    """

    fault: Record | None
    with_storage: bool


class ProbeSink:
    """A sink that stores each result and deletes it again."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage

    def store(self, outcomes: Iterable[Outcome]) -> float:
        """See :class:`pipeline.sinks.base.Sink`; the time is not of interest."""
        for outcome in outcomes:
            if outcome.result is None:
                continue
            key = f"{STAGING}/probe-{uuid.uuid4().hex}"
            try:
                self.storage.write(key, outcome.result)
            except Exception as error:  # noqa: BLE001 - judged like that of any sample
                fail(outcome.record, "write", error)
            finally:
                with contextlib.suppress(OSError):
                    self.storage.delete(key)
        return 0.0


def prove(engine: InpaintActor, known_good: Sequence[Sample]) -> Proof:
    """Process known-good samples until one succeeds; a sample that has become invalid proves nothing."""
    probe = ProbeSink(engine.sink.storage)
    faults = []
    for sample in known_good:
        (record,) = engine.run([sample], probe)
        if record.status == OK:
            return Proof(None, with_storage=True)
        if is_undone(record):
            faults.append(record)
    if faults:
        return Proof(faults[-1], with_storage=True)
    record = _do_picture(engine)
    return Proof(record if is_undone(record) else None, with_storage=False)


def _do_picture(engine: InpaintActor) -> Record:
    record = Record("", OK, seed=0)
    try:
        job = _picture_job(record, engine.inpainter.window_px, engine)
        engine.loop.repaint(job).result()
        if record.error_stage is None:
            finish(job, engine.config, engine.signer)
    except SampleError:
        pass  # the settings may refuse this picture; a worker that can say so works
    except Exception as error:  # noqa: BLE001 - judged like that of any sample
        fail(record, "inpaint", error)
    return record


def _picture_job(record: Record, window_px: int, engine: InpaintActor) -> SampleJob:
    data, mask = _picture()
    photo = decode(data, engine.config.limits.max_pixels)
    window = engine.config.window
    windows = plan_windows(mask, window_px, window.context, window.max_upscale)
    return SampleJob(record, data, photo, mask, photo.rgb(), windows, record.seed or 0)


@cache
def _picture() -> tuple[bytes, np.ndarray]:
    """Return a PNG with smooth colours and noise, and a mask with one hole."""
    generator = np.random.default_rng(0)
    rows, columns = np.mgrid[0:SIDE_PX, 0:SIDE_PX]
    colours = np.stack([rows, columns, rows + columns], axis=2) + generator.integers(0, 16, (SIDE_PX, SIDE_PX, 3))
    buffer, mask = io.BytesIO(), np.zeros((SIDE_PX, SIDE_PX), bool)
    Image.fromarray(colours.astype(np.uint8)).save(buffer, "PNG")
    mask[40:56, 32:64] = True
    return buffer.getvalue(), mask
