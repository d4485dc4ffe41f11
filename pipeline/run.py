"""The whole job on one screen: plan → read → inpaint → write → commit, until nothing is left to do."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from functools import partial

import pyarrow as pa
import ray
from ray.exceptions import RayError

from pipeline.cluster import Pool, connected, size_pool
from pipeline.config import JobConfig
from pipeline.gpu_actor import InpaintActor
from pipeline.manifest import Manifest
from pipeline.plan import cut_units, make_plan
from pipeline.reader import SAMPLE_TYPE, read_units
from pipeline.records import Sample
from pipeline.storage import Storage
from pipeline.summary import Summary, summarize
from pipeline.weight_store import fetch_weights
from pipeline.writer import write_results

UNIT_SAMPLES, UNIT_BYTES = 64, 16 << 20
UNITS_PER_ACTOR = 8  # at least that many, so that work spreads evenly and a crash loses little
RETRIES = 3  # of one unit by Ray, and of the whole flow by us
MAX_BLOCKS = 512
FIRST_COMMIT_S, COMMIT_FRACTION = 2.0, 0.01  # a crash loses two seconds or one percent of the work

logger = logging.getLogger(__name__)


class JobError(RuntimeError):
    """The job ended with samples that nothing is known about; the same command goes on with them."""


def run_job(config: JobConfig, run_id: str, on_rows: Callable[[pa.Table, int], None]) -> Summary:
    """Do everything that the sink does not hold yet.

    Args:
        config: the job.
        run_id: unique name of this run.
        on_rows: called with newly committed rows and the number of samples to do.

    Returns:
        What was done; it stands in ``runs/<run_id>.json`` of the sink as well.

    Raises:
        ConfigError, WeightsUnavailableError, CheckpointError: nothing was started.
        ManifestConflictError: another run writes to the same sink.
        JobError: workers died again and again.
    """
    started = time.time()
    weights = fetch_weights(config.model.weights, config.storage)
    if not weights.trained:
        logger.warning("weights %r are an untrained stand-in: results show the pipeline, not the model", weights.name)
    sink = Storage(config.sink.uri, config.storage)
    manifest = Manifest(sink)
    plan = make_plan(config, weights.fingerprint, manifest)
    todo = {sample.sample_id: sample for sample in plan.todo}
    planned = time.time()
    if todo:
        with connected(config.run.address):
            pool = size_pool(config.run)
            _run_flow(config, weights.fingerprint, run_id, pool, manifest, todo, on_rows)
    manifest.compact()
    summary = summarize(config, weights, run_id, plan, manifest, started, planned)
    sink.write(f"runs/{run_id}.json", summary.to_json())
    return summary


def _run_flow(
    config: JobConfig,
    weights_fingerprint: str,
    run_id: str,
    pool: Pool,
    manifest: Manifest,
    todo: dict[str, Sample],
    on_rows: Callable[[pa.Table, int], None],
) -> None:
    """Stream samples through the cluster and commit their rows; start again over the rest when workers die."""
    total = len(todo)
    for attempt in range(RETRIES + 1):
        # Smaller units each time: less is lost with the one that kills its worker.
        unit_samples = max(1, min(UNIT_SAMPLES, total // (pool.actors * UNITS_PER_ACTOR)) >> 2 * attempt)
        units = cut_units(list(todo.values()), unit_samples, UNIT_BYTES)
        try:
            for rows in _batched(_stream(config, weights_fingerprint, run_id, pool, units)):
                manifest.append(rows)
                for sample_id in rows["sample_id"].to_pylist():
                    del todo[sample_id]
                on_rows(rows, total)
        except RayError as error:
            logger.warning("attempt %d ended with %d samples left: %s", attempt + 1, len(todo), error)
        if not todo:
            return
    raise JobError(f"{len(todo)} of {total} samples are left after {RETRIES + 1} attempts; the same command goes on")


def _stream(
    config: JobConfig, weights_fingerprint: str, run_id: str, pool: Pool, units: list[list[Sample]]
) -> Iterable[pa.Table]:
    """The flow of one attempt. A row is a unit of compressed samples until the actor, then a sample."""
    samples = pa.array([[asdict(sample) for sample in unit] for unit in units], pa.list_(SAMPLE_TYPE))
    blocks = ray.data.from_arrow(_split(pa.table({"samples": samples}), MAX_BLOCKS))
    return (
        blocks.map_batches(
            partial(read_units, config=config),
            batch_size=1,
            batch_format="pyarrow",
            num_cpus=0.1,
            max_retries=RETRIES,
        )
        .map_batches(
            InpaintActor,
            fn_constructor_args=(config, weights_fingerprint, pool.threads),
            batch_size=1,
            batch_format="pyarrow",
            num_cpus=pool.cpus,
            num_gpus=pool.gpus,
            compute=ray.data.ActorPoolStrategy(
                size=pool.actors, max_concurrent_calls_per_actor=2, enable_true_multi_threading=True
            ),
            max_task_retries=RETRIES,
        )
        .map_batches(
            partial(write_results, config=config, run_id=run_id),
            batch_size=None,
            batch_format="pyarrow",
            num_cpus=0.1,
            max_retries=RETRIES,
        )
        .iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0)
    )


def _split(table: pa.Table, max_parts: int) -> list[pa.Table]:
    step = -(-table.num_rows // max_parts)
    return [table.slice(start, step) for start in range(0, table.num_rows, step)]


def _batched(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
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
    except RayError:
        if waiting:
            yield pa.concat_tables(waiting)
        raise
    if waiting:
        yield pa.concat_tables(waiting)
