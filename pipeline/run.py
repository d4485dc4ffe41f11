"""Run a whole job: plan, inpaint and commit until every sample has its row."""

import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from functools import partial

import pyarrow as pa
import ray

from moebius.weights import Weights
from pipeline.cluster.connect import (
    avoiding,
    check_precision,
    connected,
    describe_shortage,
    node_resources,
    shrink_pool,
    size_pool,
)
from pipeline.cluster.notify import notified
from pipeline.cluster.patience import Patience
from pipeline.cluster.summary import Summary
from pipeline.cluster.supervisor import Supervisor
from pipeline.cluster.witness import DriverWitness
from pipeline.cluster.work import Blamed
from pipeline.config.job import JobConfig
from pipeline.database import Database
from pipeline.faults.hold import Hold, tell_hold
from pipeline.faults.judge import fail
from pipeline.faults.passes import Pass
from pipeline.faults.roster import RemoteRoster, open_roster
from pipeline.maintenance.repack import repack
from pipeline.maintenance.replaced import delete_replaced
from pipeline.manifest.commit import commit_rows
from pipeline.manifest.lease import Lease
from pipeline.manifest.log import Manifest
from pipeline.manifest.takeover import until_taken_over
from pipeline.metrics import Meter
from pipeline.planning.finished_shards import FinishedShards
from pipeline.planning.listing import find_samples
from pipeline.planning.plan import make_plan
from pipeline.records import MANIFEST_SCHEMA, to_table
from pipeline.sources.reader import Reader
from pipeline.storage.storage import Storage
from pipeline.storage.weights import fetch_weights
from pipeline.worker.actor import InpaintActor
from pipeline.worker.pool import Pool
from pipeline.worker.sample import new_record
from pipeline.worker.units import SMALL_UNITS, UnitBounds
from pipeline.worker.worker import Worker

UNITS_AT_WORK = 3  # per actor: one being read and decoded, one in the model, one being encoded and written
UNITS_IN_FLIGHT = 4
MAX_BLOCKS = 2048
ROWS_BYTES = 32 << 10  # smaller than a unit's rows, so that they leave the worker as soon as the unit is done

logger = logging.getLogger(__name__)


def run_job(
    config: JobConfig,
    run_id: str,
    on_rows: Callable[[pa.Table, int], None],
    worker: type[InpaintActor] = InpaintActor,
    on_pool: Callable[[Pool], None] = lambda pool: None,
) -> Summary:
    """Process the samples that the sink does not hold yet.

    Args:
        config: the job.
        run_id: unique name of this run.
        on_rows: called with newly committed rows and the number of samples to process; first with no rows.
        worker: class that hosts the model.
        on_pool: called once the worker pool is sized.

    Returns:
        Summary of the run, also written to ``runs/<run_id>.json`` of the sink.

    Raises:
        ConfigError, WeightsUnavailableError, CheckpointError: raised before any worker starts.
        LeaseHeldError, ManifestConflictError: another run is using the sink.
        JobError: no worker can make progress.
    """
    weights = fetch_weights(config.model.weights, config.storage)
    if not weights.trained:
        logger.warning("weights %r are an untrained stand-in: results show the pipeline, not the model", weights.name)
    sink = Storage(config.sink.uri, config.storage)
    with notified(config.run.notify) as documents, Database() as database:
        finished = FinishedShards(config, weights.fingerprint, Manifest(sink), database)
        left_out = find_samples(config, database, finished)
        with Lease(sink, run_id) as lease:
            sink.clear_staging()
            manifest = Manifest(sink, Hold(config.limits.stall_s, tell_hold))
            plan = make_plan(config, database, weights.fingerprint, manifest)
            summary = Summary.begin(config, weights, run_id, plan, left_out)
            documents.append(summary.to_json)

            def commit(rows: pa.Table) -> None:
                commit_rows(manifest, rows)
                meter.count_committed(rows)
                summary.count(rows)
                on_rows(rows, plan.todo)

            with summary.kept_in(sink), closing(Meter(run_id)) as meter:
                on_rows(MANIFEST_SCHEMA.empty_table(), plan.todo)
                if plan.todo:
                    with connected(config.run.address, ROWS_BYTES), open_roster() as roster:
                        pool = size_pool(config.run, node_resources())
                        check_precision(config.model.precision, pool)
                        on_pool(pool)
                        meter.watch(samples_to_do=lambda: plan.todo, model_calls=lambda: pool.model_calls)

                        def start_pass(units: pa.ListArray, this_pass: Pass) -> Iterable[pa.Table]:
                            rows = _start_pass(config, weights, run_id, pool, worker, roster, units, this_pass)
                            return until_taken_over(rows, lease)

                        lacking = partial(describe_shortage, pool)
                        patience = Patience(roster, config.limits.stall_s, pool.actors, lacking)
                        quarantine = partial(_quarantined, config, weights.fingerprint, run_id)
                        witness = DriverWitness(config, weights.fingerprint, run_id)
                        supervisor = Supervisor(
                            start_pass, patience, quarantine, plan.known_good(), _unit_bounds(config), witness
                        )
                        for chunk in plan.chunks():
                            supervisor.do(chunk, commit)
                delete_replaced(manifest, lease)
                if plan.has_shards or config.sink.is_sharded:
                    repack(manifest, sink, None if plan.todo else plan.result_counts())
                manifest.compact()
                sink.clear_staging()
    return summary


def _start_pass(
    config: JobConfig,
    weights: Weights,
    run_id: str,
    pool: Pool,
    worker: type[InpaintActor],
    roster: RemoteRoster,
    units: pa.ListArray,
    this_pass: Pass,
) -> Iterable[pa.Table]:
    """Start the Ray Data flow of one pass, and return its rows as they arrive."""
    if this_pass.avoided:
        pool = shrink_pool(pool, config.run, node_resources(this_pass.avoided))
    engine_arguments = (config, weights.fingerprint, run_id, pool)
    on_workers = {
        **avoiding(this_pass.avoided),
        "batch_format": "pyarrow",
        "num_cpus": pool.cpus,
        "num_gpus": pool.gpus,
        "compute": ray.data.ActorPoolStrategy(
            size=pool.actors,
            max_tasks_in_flight_per_actor=1 if this_pass.isolated else UNITS_IN_FLIGHT,
            max_concurrent_calls_per_actor=1 if this_pass.isolated else UNITS_AT_WORK,
            enable_true_multi_threading=True,
        ),
    }
    arguments = (worker, engine_arguments, this_pass, roster)
    flow = ray.data.from_arrow(_blocks(units)).map_batches(
        Worker, fn_constructor_args=arguments, batch_size=1, **on_workers
    )
    return flow.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0)


def _blocks(units: pa.ListArray) -> list[pa.Table]:
    table = pa.table({"samples": units})
    step = -(-table.num_rows // MAX_BLOCKS)
    return [table.slice(start, step) for start in range(0, table.num_rows, step)]


def _unit_bounds(config: JobConfig) -> UnitBounds:
    """Return the unit size: one shard for a sharded sink, otherwise small units."""
    if not config.sink.is_sharded:
        return SMALL_UNITS
    return UnitBounds(config.sink.shard_samples, config.sink.shard_bytes, each_actor=1)


def _quarantined(config: JobConfig, weights_fingerprint: str, run_id: str, blamed: Sequence[Blamed]) -> pa.Table:
    """Return failed rows for samples that killed every worker."""
    reader = Reader(config)
    records = []
    for sample, error in blamed:
        records.append(fail(new_record(sample, config, reader, weights_fingerprint, run_id), error.stage, error))
    return to_table(records)
