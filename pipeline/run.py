"""Run a whole job: plan, inpaint and commit until every sample has its row."""

import logging
from collections.abc import Callable, Iterable
from contextlib import closing

import pyarrow as pa

from pipeline.cluster.notify import notified
from pipeline.cluster.resources.node_weights import with_fetchable_weights
from pipeline.cluster.summary import Summary
from pipeline.cluster.supervision.staffing import Staffing
from pipeline.cluster.supervision.supervisor import Supervisor
from pipeline.cluster.supervision.time_limits import Patience
from pipeline.cluster.supervision.witness import DriverWitness
from pipeline.config.job import JobConfig
from pipeline.database import Database
from pipeline.errors import JobError
from pipeline.executor.base import Executor
from pipeline.executor.ray_data import RayExecutor
from pipeline.faults.passes import Pass
from pipeline.faults.write_retries import Hold, tell_hold
from pipeline.maintenance.repack import repack
from pipeline.maintenance.replaced import delete_replaced
from pipeline.manifest.commit import commit_rows
from pipeline.manifest.lease import Lease, until_taken_over
from pipeline.manifest.log import Manifest
from pipeline.masks.base import pinned
from pipeline.metrics import Meter
from pipeline.planning.finished_shards import FinishedShards
from pipeline.planning.listing import find_samples
from pipeline.planning.plan import Plan, make_plan
from pipeline.records import MANIFEST_SCHEMA
from pipeline.signing.signer import open_signer
from pipeline.storage.storage import Storage
from pipeline.storage.weights import fetch_weights
from pipeline.worker.units import UnitBounds

logger = logging.getLogger(__name__)


def run_job(
    config: JobConfig,
    run_id: str,
    on_rows: Callable[[pa.Table, int], None],
    executor: Executor | None = None,
    on_workers: Callable[[Callable[[], int]], None] = lambda model_calls: None,
) -> Summary:
    """Process the samples that the sink does not hold yet.

    Args:
        config: the job.
        run_id: unique name of this run.
        on_rows: called with newly committed rows and the number of samples to process; first with no rows.
        executor: starts the workers; by default on Ray.
        on_workers: called before the workers start, with a function that returns how many calls of the model can run
            at once at that moment.

    Returns:
        Summary of the run, also written to ``runs/<run_id>.json`` of the sink.

    Raises:
        ConfigError, WeightsUnavailableError, CheckpointError: raised before any worker starts.
        LeaseHeldError, ManifestConflictError: another run is using the sink.
        JobError: no worker can make progress.
    """
    config = pinned(config)
    open_signer(config.sink.c2pa)  # fails before any worker starts
    weights = fetch_weights(config.model.weights, config.storage)
    if not weights.trained:
        logger.warning("weights %r are an untrained stand-in: results show the pipeline, not the model", weights.name)
    config = config.for_weights(weights.config)
    sink = Storage(config.sink.uri, config.storage)
    with notified(config.run.notify) as documents, Database() as database:
        finished = FinishedShards(config, weights.fingerprint, Manifest(sink), database)
        left_out = find_samples(config, database, finished)
        with Lease(sink, run_id, config.run.own_slice) as lease:
            if config.run.own_slice is None:  # else it may hold files of other drivers
                sink.clear_staging()
            hold = Hold(config.limits.stall_s, tell_hold)
            manifest = Manifest(sink, hold, config.run.own_slice)
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
                    node_job = with_fetchable_weights(config, weights, sink)
                    with (executor or RayExecutor()).open(node_job, weights.fingerprint, run_id) as workers:

                        def start_pass(units: pa.ListArray, this_pass: Pass) -> Iterable[pa.Table]:
                            return until_taken_over(workers.run_pass(units, this_pass), lease)

                        pool = workers.pool
                        staffing = Staffing(pool.least, workers.describe_shortage, pool.calls_each)
                        on_workers(staffing.model_calls)
                        meter.watch(samples_to_do=lambda: plan.todo, model_calls=staffing.model_calls)
                        patience = Patience(workers.roster, config.limits.stall_s, pool.actors, staffing)
                        witness = DriverWitness(config, weights.fingerprint, run_id)
                        bounds = UnitBounds.of_sink(config.sink, pool.most or pool.actors)
                        supervisor = Supervisor(
                            start_pass, patience, witness.quarantine, plan.known_good(), bounds, witness
                        )
                        try:
                            for chunk in plan.chunks():
                                supervisor.do(chunk, commit)
                        except JobError:
                            lease.check()  # says so if no worker could work because another run took over
                            raise
                with lease.alone() as whole:
                    if whole is lease:
                        _clean_up(manifest, sink, lease, plan, config)
                    elif whole and not (merged := Manifest(sink, hold)).is_tidy():  # the last of several drivers
                        _clean_up(merged, sink, whole, plan, config)
    return summary


def _clean_up(manifest: Manifest, sink: Storage, lease: Lease, plan: Plan, config: JobConfig) -> None:
    """Leave one row per sample, and no results but those that rows name."""
    delete_replaced(manifest, lease)
    if plan.has_shards or config.sink.is_sharded:
        is_known = not plan.todo and config.run.own_slice is None
        repack(manifest, sink, lease, plan.result_counts() if is_known else None)
    manifest.compact()
    sink.clear_staging()
