"""The whole job on one screen: plan → read → inpaint → write → commit, until nothing is left to do."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import asdict
from functools import partial

import pyarrow as pa
import ray

from pipeline.cluster import Pool, connected, node_resources, size_pool
from pipeline.config import JobConfig
from pipeline.errors import SampleError
from pipeline.gpu_actor import InpaintActor
from pipeline.lease import Lease
from pipeline.manifest import Manifest
from pipeline.plan import find_samples, make_plan
from pipeline.reader import SAMPLE_TYPE, read_units
from pipeline.records import MANIFEST_SCHEMA, Sample, to_table
from pipeline.sample_job import fail, new_record
from pipeline.storage import Storage
from pipeline.summary import Summary
from pipeline.supervisor import PASSES, Pass, supervise
from pipeline.weight_store import fetch_weights
from pipeline.writer import write_results

TASK_RETRIES = 3  # by Ray, before a unit is left to the next pass
UNITS_IN_FLIGHT = 4  # at an actor: two decoded or in the model, two on their way
MAX_BLOCKS = 512
IO_CPUS = 0.1  # reading and writing wait for the storage most of the time

logger = logging.getLogger(__name__)


def run_job(config: JobConfig, run_id: str, on_rows: Callable[[pa.Table, int], None]) -> Summary:
    """Do everything that the sink does not hold yet.

    Args:
        config: the job.
        run_id: unique name of this run.
        on_rows: called with newly committed rows, at first with none, and the number of samples to do.

    Returns:
        What was done; it stands in ``runs/<run_id>.json`` of the sink as well.

    Raises:
        ConfigError, WeightsUnavailableError, CheckpointError: nothing was started.
        LeaseHeldError, ManifestConflictError: another run works on the same sink.
        JobError: the workers do not work.
    """
    weights = fetch_weights(config.model.weights, config.storage)
    if not weights.trained:
        logger.warning("weights %r are an untrained stand-in: results show the pipeline, not the model", weights.name)
    samples = find_samples(config)
    sink = Storage(config.sink.uri, config.storage)
    with Lease(sink, run_id):
        sink.clear_staging()
        manifest = Manifest(sink)
        plan = make_plan(config, samples, weights.fingerprint, manifest)
        summary = Summary.begin(config, weights, run_id, plan)
        sink.write(summary.key, summary.to_json())

        def commit(rows: pa.Table) -> None:
            _delete_replaced(sink, plan.outputs, rows)
            manifest.append(rows)
            summary.count(rows)
            on_rows(rows, len(plan.todo))

        on_rows(MANIFEST_SCHEMA.empty_table(), len(plan.todo))
        if plan.todo:
            with connected(config.run.address):
                pool = size_pool(config.run, node_resources())
                start_pass = partial(_start_pass, config, weights.fingerprint, run_id, pool)
                lost = supervise(plan.todo, pool.actors, start_pass, commit)
            commit(_quarantined(lost, config, weights.fingerprint, run_id))
        manifest.compact()
        sink.clear_staging()
        summary.end()
        sink.write(summary.key, summary.to_json())
    return summary


def _start_pass(
    config: JobConfig, weights_fingerprint: str, run_id: str, pool: Pool, units: list[list[Sample]], this_pass: Pass
) -> Iterable[pa.Table]:
    """The flow of one pass. A row is a unit of compressed samples until the actor, then a sample."""
    return (
        ray.data.from_arrow(_blocks(units))
        .map_batches(
            partial(read_units, config=config, give_back=this_pass.give_back),
            batch_size=1,
            batch_format="pyarrow",
            num_cpus=IO_CPUS,
            max_retries=TASK_RETRIES,
        )
        .map_batches(
            InpaintActor,
            fn_constructor_args=(config, weights_fingerprint, pool),
            batch_size=1,
            batch_format="pyarrow",
            num_cpus=pool.cpus,
            num_gpus=pool.gpus,
            compute=ray.data.ActorPoolStrategy(
                size=pool.actors,
                max_tasks_in_flight_per_actor=1 if this_pass.isolated else UNITS_IN_FLIGHT,
                max_concurrent_calls_per_actor=1 if this_pass.isolated else 2,
                enable_true_multi_threading=True,
            ),
            max_task_retries=1,  # none would let the next units fail while the worker is being replaced
        )
        .map_batches(
            partial(write_results, config=config, run_id=run_id, give_back=this_pass.give_back),
            batch_size=None,
            batch_format="pyarrow",
            num_cpus=IO_CPUS,
            max_retries=TASK_RETRIES,
        )
        .iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0)
    )


def _blocks(units: list[list[Sample]]) -> list[pa.Table]:
    rows = pa.array([[asdict(sample) for sample in unit] for unit in units], pa.list_(SAMPLE_TYPE))
    table = pa.table({"samples": rows})
    step = -(-table.num_rows // MAX_BLOCKS)
    return [table.slice(start, step) for start in range(0, table.num_rows, step)]


def _delete_replaced(sink: Storage, outputs: dict[str, str], rows: pa.Table) -> None:
    """Delete earlier results that the rows' samples no longer have, or have under another name.

    Before the rows are committed: a crash in between leaves samples to do, while later it would leave files that no row
    names.
    """
    for sample_id, output_uri in zip(rows["sample_id"].to_pylist(), rows["output_uri"].to_pylist(), strict=True):
        earlier = outputs.get(sample_id)
        if earlier and earlier != output_uri:
            sink.delete(sink.key(earlier))


def _quarantined(samples: list[Sample], config: JobConfig, weights_fingerprint: str, run_id: str) -> pa.Table:
    """Failed rows of samples that no worker survived."""
    fault = SampleError("inpaint", "WorkerDied", f"its worker died or gave it back in each of {len(PASSES)} passes")
    records = [fail(new_record(asdict(sample), config), fault) for sample in samples]
    for record in records:
        record.weights_fingerprint, record.run_id = weights_fingerprint, run_id
    return to_table(records)
