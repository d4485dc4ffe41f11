"""The interface between a run and what its workers run on."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Protocol

import pyarrow as pa

from pipeline.config.job import JobConfig
from pipeline.faults.passes import Pass
from pipeline.faults.roster import RemoteRoster, Roster, RosterClient
from pipeline.worker.actor import InpaintActor
from pipeline.worker.pool import Pool

# configuration, fingerprint of the weights, name of the run, pool, roster → the object that hosts the model
NewEngine = Callable[[JobConfig, str, str, Pool, RosterClient], InpaintActor]


class Workers(Protocol):
    """The workers of one run, while its executor is open."""

    @property
    def pool(self) -> Pool:
        """Number and size of the workers."""

    @property
    def roster(self) -> Roster | RemoteRoster:
        """Return the roster that the workers report to."""

    def run_pass(self, units: pa.ListArray, this_pass: Pass) -> Iterable[pa.Table]:
        """Process units, one list of ``SAMPLE_SCHEMA`` each, and yield rows as they arrive, deferred ones among them.

        Rows of a unit whose worker died are missing.

        Raises:
            ExecutorError: the pass as a whole failed; this says nothing about samples without rows.
        """

    def describe_shortage(self) -> str:
        """Describe, for a line of the log, which resources are missing to start a worker; empty if unknown."""


class Executor(Protocol):
    """Starts the workers of runs."""

    def open(self, config: JobConfig, weights_fingerprint: str, run_id: str) -> AbstractContextManager[Workers]:
        """Provide the workers of a run until the block ends.

        Raises:
            ConfigError: the pool that the job asks for is not available.
        """
