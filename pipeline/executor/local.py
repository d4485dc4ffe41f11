"""Run one worker in this process, without Ray."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pyarrow as pa

from pipeline.config.job import JobConfig
from pipeline.executor.base import NewEngine
from pipeline.faults.passes import Pass
from pipeline.faults.roster import Roster
from pipeline.worker.actor import InpaintActor
from pipeline.worker.pool import Pool
from pipeline.worker.worker import Worker

THREADS = 4


@dataclass(frozen=True)
class LocalExecutor:
    """Runs one worker in this process, for tests.

    A sample that kills or hangs its worker ends the whole run, and the next run as well: nothing is left that could
    blame it. Jobs of users therefore run on Ray.

    Args:
        engine: creates the object that hosts the model.
        threads: CPU threads of the worker.
    """

    engine: NewEngine = InpaintActor
    threads: int = THREADS

    @contextmanager
    def open(self, config: JobConfig, weights_fingerprint: str, run_id: str) -> Iterator["LocalWorkers"]:
        """See :class:`pipeline.executor.base.Executor`."""
        pool = Pool(actors=1, gpus=0.0, cpus=self.threads, threads=self.threads)
        yield LocalWorkers(self.engine, (config, weights_fingerprint, run_id, pool), pool)


@dataclass
class LocalWorkers:
    """The worker of one run in this process.

    Args:
        engine: creates the object that hosts the model.
        arguments: of the engine, except the roster.
        pool: one worker.
    """

    engine: NewEngine
    arguments: tuple[JobConfig, str, str, Pool]
    pool: Pool
    roster: Roster = field(default_factory=Roster)

    def run_pass(self, units: pa.ListArray, this_pass: Pass) -> Iterator[pa.Table]:
        """See :class:`pipeline.executor.base.Workers`."""
        worker = Worker(self.engine, self.arguments, this_pass, self.roster)
        for unit in range(len(units)):
            yield worker(pa.table({"samples": units.slice(unit, 1)}))

    def describe_shortage(self) -> str:
        """See :class:`pipeline.executor.base.Workers`; nothing is missing to start a worker here."""
        return ""
