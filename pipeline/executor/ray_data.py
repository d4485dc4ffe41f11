"""Run workers as actors of Ray Data, on a cluster or on this machine."""

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import ray
from ray.exceptions import RayActorError, RayError

from pipeline.cluster.connection.connect import connected
from pipeline.cluster.connection.nodes import avoiding, node_resources, this_node_leaves
from pipeline.cluster.connection.ray_versions import actor_pool
from pipeline.cluster.resources.first_gpu import await_first_gpu
from pipeline.cluster.resources.holders import describe_shortage
from pipeline.config.job import JobConfig
from pipeline.errors import ExecutorError
from pipeline.executor.base import NewEngine
from pipeline.faults.passes import Pass
from pipeline.faults.roster import RemoteRoster, last_line, open_roster
from pipeline.worker.actor import InpaintActor
from pipeline.worker.pool import Pool, check_precision, shrink_pool, size_pool
from pipeline.worker.worker import Worker

logger = logging.getLogger(__name__)

UNITS_AT_WORK = 3  # per actor: one being read and decoded, one in the model, one being encoded and written
UNITS_IN_FLIGHT = 4
MAX_BLOCKS = 2048
MAX_WORKERS = 100_000  # of a pool that has no limit but the cluster
ROWS_BYTES = 32 << 10  # smaller than a unit's rows, so that they leave the worker as soon as the unit is done


@dataclass(frozen=True)
class RayExecutor:
    """Runs the workers of a run on the cluster of ``run.address``.

    Args:
        engine: creates the object that hosts the model; workers must be able to import it.
    """

    engine: NewEngine = InpaintActor

    @contextlib.contextmanager
    def open(self, config: JobConfig, weights_fingerprint: str, run_id: str) -> Iterator["RayWorkers"]:
        """See :class:`pipeline.executor.base.Executor`."""
        with connected(config.run.address, ROWS_BYTES) as may_grow, open_roster() as roster:
            if config.run.wait_for_gpus and config.run.gpus_per_actor != 0:
                await_first_gpu(config.run.wait_for_gpus)
            pool = size_pool(config.run, node_resources(), may_grow)
            check_precision(config.model.precision, pool)
            if may_grow and not pool.gpus and config.run.gpus_per_actor == "auto":
                logger.info(
                    "the cluster has no GPU, so workers run on CPUs; if nodes with GPUs are still to come, set "
                    "run.wait_for_gpus to the seconds to wait for them"
                )
            if is_demonstration(config.model.weights, config.run.address, pool):
                logger.warning(
                    "model.weights=nano is a small model for demonstrations; for real work on GPUs or a cluster, set "
                    "model.weights to published ones such as places2, or to your own"
                )
            yield RayWorkers(self.engine, config, weights_fingerprint, run_id, pool, roster)


def is_demonstration(weights: str, address: str | None, pool: Pool) -> bool:
    """Return whether a job has GPUs or a cluster, but only the weights that ship for demonstrations."""
    return weights == "nano" and (pool.gpus > 0 or address is not None)


@dataclass(frozen=True)
class RayWorkers:
    """The workers of one run on a connected cluster.

    Args:
        engine, config, weights_fingerprint, run_id: of each worker.
        pool: their number and size.
        roster: what they report to.
    """

    engine: NewEngine
    config: JobConfig
    weights_fingerprint: str
    run_id: str
    pool: Pool
    roster: RemoteRoster

    def run_pass(self, units: pa.ListArray, this_pass: Pass) -> Iterator[pa.Table]:
        """See :class:`pipeline.executor.base.Workers`; causes of death of workers go to the roster."""
        try:
            with _deaths_noted(self.roster):
                flow = self._flow(units, this_pass, self._pool_of(this_pass))
                yield from flow.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0)
        except RayError as error:
            raise ExecutorError(last_line(error)) from error

    def describe_shortage(self) -> str:
        """See :class:`pipeline.executor.base.Workers`."""
        return describe_shortage(self.pool)

    def _pool_of(self, this_pass: Pass) -> Pool:
        """Return the pool of one pass: smaller where nodes are avoided."""
        if not this_pass.avoided:
            return self.pool
        return shrink_pool(self.pool, self.config.run, node_resources(this_pass.avoided))

    def _flow(self, units: pa.ListArray, this_pass: Pass, pool: Pool) -> "ray.data.Dataset":
        # The type is quoted, or runs without work would import Ray Data, too.
        arguments = (self.config, self.weights_fingerprint, self.run_id, pool)
        return ray.data.from_arrow(_blocks(units)).map_batches(
            Worker,
            fn_constructor_args=(self.engine, arguments, this_pass, self.roster, this_node_leaves),
            batch_size=1,
            batch_format="pyarrow",
            num_cpus=pool.cpus,
            num_gpus=pool.gpus,
            **actor_pool(
                max_units=1 if this_pass.isolated else UNITS_IN_FLIGHT,
                max_calls=1 if this_pass.isolated else UNITS_AT_WORK,
                min_size=pool.least,
                max_size=pool.most or MAX_WORKERS,
                initial_size=pool.actors,
            ),
            **avoiding(this_pass.avoided),
        )


def _blocks(units: pa.ListArray) -> list[pa.Table]:
    table = pa.table({"samples": units})
    step = -(-table.num_rows // MAX_BLOCKS)
    return [table.slice(start, step) for start in range(0, table.num_rows, step)]


@contextlib.contextmanager
def _deaths_noted(roster: RemoteRoster) -> Iterator[None]:
    """Note in the roster why workers die, for messages.

    Ray Data ignores a failed unit if it may (``max_errored_blocks``), and then tells the exception to its logger only.
    """

    class Notes(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.exc_info and isinstance(record.exc_info[1], RayActorError):
                with contextlib.suppress(RayError):  # the cluster may be gone by then
                    roster.note_death(last_line(record.exc_info[1]))

    notes, ray_data = Notes(logging.ERROR), logging.getLogger("ray.data")
    ray_data.addHandler(notes)
    try:
        yield
    finally:
        ray_data.removeHandler(notes)
