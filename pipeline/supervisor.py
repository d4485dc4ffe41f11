"""Runs the flow until every sample has its row, however often workers die."""

import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from ray.exceptions import RayError, UserCodeException

from pipeline.records import LEFT
from pipeline.storage_errors import CredentialsError
from pipeline.units import SMALL_UNITS, UnitBounds, make_units

FEW_SAMPLES = 8  # that many may be blamed although the last pass brought no other to its end
REFUSED_S = 600.0  # of nothing but refused credentials end a job
FIRST_COMMIT_S, COMMIT_FRACTION = 2.0, 0.01  # a crash loses two seconds or one percent of the work

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pass:
    """One try at everything that is left.

    Args:
        shrink: by how much units are smaller than at first; ``None`` means a sample each.
        isolated: whether a worker holds one unit at a time, so that what kills it takes nothing else with it.
        give_back: whether a worker leaves a sample to a later pass when the storage does not answer.
    """

    shrink: int | None
    isolated: bool
    give_back: bool


# What kills its worker ends up alone in its unit and in its worker, and then has a second chance.
PASSES = (
    Pass(shrink=1, isolated=False, give_back=True),
    Pass(shrink=8, isolated=False, give_back=True),
    Pass(shrink=None, isolated=True, give_back=True),
    Pass(shrink=None, isolated=True, give_back=False),
)

# A list of samples a unit → rows of samples, finished or given back; the units of workers that died are missing.
StartPass = Callable[[pa.ListArray, Pass], Iterable[pa.Table]]


class JobError(RuntimeError):
    """The job ended with samples that nothing is known about; the same command goes on with them."""


def supervise(
    samples: pa.Table,
    actors: int,
    start_pass: StartPass,
    commit: Callable[[pa.Table, pa.Array], None],
    bounds: UnitBounds = SMALL_UNITS,
) -> pa.Table:
    """Pass over the samples, then over what is left of them in smaller units, four times in all.

    Args:
        samples: what to do, with the columns of ``SAMPLE_SCHEMA``.
        actors: size of the pool.
        start_pass: runs units through the cluster.
        commit: makes rows permanent; sees every sample once. Its second argument says where in ``samples`` each stands.
        bounds: of a unit.

    Returns:
        Samples that were alone in their unit and killed their worker again and again.

    Raises:
        JobError: the workers themselves do not work, or their credentials are refused.
    """
    names = samples["sample_id"].combine_chunks()
    is_left = np.ones(len(names), bool)
    left = before = len(names)
    first_unit = max(1, min(bounds.samples, -(-len(names) // (actors * bounds.each_actor))))
    for number, this_pass in enumerate(PASSES, start=1):
        unit_samples = max(1, first_unit // this_pass.shrink) if this_pass.shrink else 1
        units = make_units(samples.filter(pa.array(is_left)), unit_samples, bounds.size_bytes)
        aborted, before = False, left
        with _logged_errors() as errors:
            try:
                for rows in _gathered(_without_left(start_pass(units, this_pass), errors)):
                    # Whatever Ray delivers twice, a sample is committed once.
                    places = pc.index_in(rows["sample_id"].combine_chunks(), names).to_numpy()
                    places, first = np.unique(places, return_index=True)
                    fresh = is_left[places]
                    is_left[places] = False
                    commit(rows.take(pa.array(first[fresh])), pa.array(places[fresh]))
            except RayError as error:  # the flow as a whole: nothing is said about the samples that are left
                errors.append(error)
                aborted = True
        left = int(np.count_nonzero(is_left))
        if not left:
            break
        reason = _last_line(errors)
        logger.warning("pass %d ended with %d samples left, the last error being: %s", number, left, reason)
    # Samples are to blame only where workers are known to work: where most of what was tried with them came through,
    # and none was given back, which in the last pass means that a worker's credentials were refused.
    workers_fail = left > max(FEW_SAMPLES, before - left)
    if left and (aborted or workers_fail or any(isinstance(error, (UserCodeException, OSError)) for error in errors)):
        raise JobError(
            f"{left} of {len(names)} samples are left after {len(PASSES)} passes. Once the cause is mended, the same "
            f"command goes on. The last error was: {reason}"
        )
    return samples.filter(pa.array(is_left))


@contextlib.contextmanager
def _logged_errors() -> Iterator[list[BaseException]]:
    """Collect the errors of units that Ray Data drops; it tells of them in its log alone."""
    errors: list[BaseException] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.exc_info and record.exc_info[1]:
                errors.append(record.exc_info[1])

    collector, ray_data = Collector(), logging.getLogger("ray.data")
    ray_data.addHandler(collector)
    try:
        yield errors
    finally:
        ray_data.removeHandler(collector)


def _last_line(errors: list[BaseException]) -> str:
    lines = str(errors[-1]).strip().splitlines() if errors else []
    return lines[-1] if lines else "none was told"


def _without_left(tables: Iterable[pa.Table], reasons: list[BaseException]) -> Iterator[pa.Table]:
    """Drop the rows of samples that a worker gave back, but remember why.

    Raises:
        JobError: for so long nothing was done, since credentials were refused: unlike a storage they do not come back.
    """
    refused: float | None = None  # since when there is nothing else
    for rows in tables:
        is_left = pc.equal(rows["status"], LEFT)
        left, rows = rows.filter(is_left), rows.filter(pc.invert(is_left))
        if rows.num_rows:
            refused = None
            yield rows
        if left.num_rows:
            message = left["error_message"][0].as_py()
            reasons.append(OSError(message))
            if left["error_type"][0].as_py() != CredentialsError.__name__:
                continue
            refused = time.monotonic() if refused is None else refused
            if time.monotonic() - refused > REFUSED_S:
                raise JobError(f"the workers' credentials are refused: {message}. With others the same command goes on")


def _gathered(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Collect rows for a commit: often at first, then less and less, so that a long run leaves few parts."""
    started = committed = time.monotonic()
    waiting: list[pa.Table] = []
    try:
        for table in tables:
            waiting.append(table)
            now = time.monotonic()
            if now - committed >= max(FIRST_COMMIT_S, COMMIT_FRACTION * (now - started)):
                yield pa.concat_tables(waiting)
                waiting, committed = [], now
    except (RayError, JobError, KeyboardInterrupt):  # what is finished counts, whatever ended the flow
        if waiting:
            yield pa.concat_tables(waiting)
        raise
    if waiting:
        yield pa.concat_tables(waiting)
