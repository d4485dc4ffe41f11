"""The roster of a job's workers: where each runs, its trouble, and the isolated samples that it began.

Workers report to it beside the rows that they return, so that a worker which dies leaves word of what it was doing.
One small Ray actor on the driver's node holds it; without Ray it is a plain object.
"""

import contextlib
import os
import socket
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pipeline.errors import ExecutorError

MANY = 1000
ALIVE_S = 30.0  # after its last sign of life a worker may still be taken to live
ANSWER_S = 10.0  # the roster answers in milliseconds, unless its process or the cluster is gone


class Seat(NamedTuple):
    """Where a worker runs.

    Args:
        host: name and address, for people.
        node_id: of Ray.
    """

    host: str
    node_id: str

    @classmethod
    def here(cls) -> "Seat":
        """Return the seat of this process."""
        if not ray.is_initialized():
            return cls(socket.gethostname(), "")
        node_id = ray.get_runtime_context().get_node_id()
        return cls(f"{socket.gethostname()} ({ray.util.get_node_ip_address()})", node_id)


class Trouble(NamedTuple):
    """A fault that keeps a worker from processing any sample.

    Args:
        reason: type and message of the error.
        may_pass: whether it may be transient, such as an unreachable storage.
    """

    reason: str
    may_pass: bool


@dataclass
class Entries:
    """The reports of one pass.

    Args:
        number: of the pass.
        seats: of each worker, by name; one that died and came back has another name.
        alive: workers with a recent sign of life.
        steps: finished model calls and samples, by worker.
        troubles: of workers that can do nothing now.
        proven: workers that passed a test and then began a sample in isolation.
        begun: how often tested workers began each sample in isolation, by ``sample_id``.
        hung: samples in isolation whose worker ended itself because they took too long.
        leaving: workers that end, since their nodes are being drained or they received SIGTERM.
        units_begun: number of units that workers have begun.
        death: why a worker died last, where the executor knows; for messages only.
        silence_s: seconds since the last sign of life of any worker; ``inf`` before the first.
    """

    number: int = 0
    seats: dict[str, Seat] = field(default_factory=dict)
    alive: set[str] = field(default_factory=set)
    steps: dict[str, int] = field(default_factory=dict)
    troubles: dict[str, Trouble] = field(default_factory=dict)
    proven: set[str] = field(default_factory=set)
    begun: Counter[str] = field(default_factory=Counter)
    hung: set[str] = field(default_factory=set)
    leaving: set[str] = field(default_factory=set)
    units_begun: int = 0
    death: str | None = None
    silence_s: float = float("inf")


def worker_name() -> str:
    """Name of a worker that is this process, as rows have it."""
    return f"{socket.gethostname()}/{os.getpid()}"


class RosterClient(Protocol):
    """How a worker reports; ``begin`` and ``begin_unit`` wait for the roster's answer, or raise ``ExecutorError``."""

    def start(self, worker: str, seat: Seat) -> None:
        """Report that a worker started."""

    def live(self, worker: str, steps: int = 0) -> None:
        """Report a sign of life and the finished steps of a worker."""

    def trouble(self, worker: str, trouble: Trouble | None) -> None:
        """Report that a worker cannot work, or can again (``None``)."""

    def leave(self, worker: str) -> None:
        """Report that a worker ends, since its node is being drained or it received SIGTERM."""

    def begin_unit(self, sample_id: str) -> int:
        """Report the start of the unit with this first sample, and return how often it was started."""

    def begin(self, worker: str, sample_id: str) -> None:
        """Report that a tested worker starts a sample in isolation."""

    def hang(self, sample_ids: list[str]) -> None:
        """Report that a worker ends itself because a step of one of these samples timed out."""


class Roster:
    """Holds the reports of workers, see the module; also the client of workers in this process."""

    def __init__(self) -> None:
        self._entries, self._last_signs, self._last_sign = Entries(), dict[str, float](), float("-inf")
        self._units: Counter[str] = Counter()  # how often each was begun, by its first sample
        self._is_over = False

    def start(self, worker: str, seat: Seat) -> None:
        """See :class:`RosterClient`, as for all below."""
        self._entries.seats[worker] = seat
        self.live(worker)

    def live(self, worker: str, steps: int = 0) -> None:
        self._last_sign = self._last_signs[worker] = time.monotonic()
        self._entries.steps[worker] = steps

    def trouble(self, worker: str, trouble: Trouble | None) -> None:
        self._entries.troubles.pop(worker, None)
        if trouble:
            self._entries.troubles[worker] = trouble

    def leave(self, worker: str) -> None:
        self._entries.leaving.add(worker)

    def begin_unit(self, sample_id: str) -> int:
        self._units[sample_id] += MANY if self._is_over else 1
        return self._units[sample_id]

    def begin(self, worker: str, sample_id: str) -> None:
        self._entries.proven.add(worker)
        self._entries.begun[sample_id] += 1

    def hang(self, sample_ids: list[str]) -> None:
        self._entries.hung.update(sample_ids)

    def note_death(self, reason: str) -> None:
        """Note why a worker died."""
        self._entries.death = reason

    def end(self) -> None:
        """Stop workers from starting units, so that an abandoned flow drains."""
        self._is_over = True

    def new_pass(self) -> int:
        """Forget the workers and beginnings of the last pass, and return the number of the new one."""
        self._entries = Entries(self._entries.number + 1, hung=self._entries.hung)
        self._units.clear()
        return self._entries.number

    def read(self) -> Entries:
        """Return the current entries."""
        now = time.monotonic()
        alive = {worker for worker, sign in self._last_signs.items() if now - sign < ALIVE_S}
        self._entries.alive = alive & self._entries.seats.keys()
        self._entries.silence_s = now - self._last_sign
        self._entries.units_begun = len(self._units)
        return self._entries


class RemoteRoster:
    """A roster in a Ray actor, as driver and workers see it."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor
        self._last_read, self._read_at = Entries(), time.monotonic()

    def start(self, worker: str, seat: Seat) -> None:
        """See :class:`RosterClient`, as for all below."""
        self._actor.start.remote(worker, seat)

    def live(self, worker: str, steps: int = 0) -> None:
        self._actor.live.remote(worker, steps)

    def trouble(self, worker: str, trouble: Trouble | None) -> None:
        self._actor.trouble.remote(worker, trouble)

    def leave(self, worker: str) -> None:
        self._actor.leave.remote(worker)

    def begin_unit(self, sample_id: str) -> int:
        return _answer(self._actor.begin_unit, sample_id)

    def begin(self, worker: str, sample_id: str) -> None:
        _answer(self._actor.begin, worker, sample_id)

    def hang(self, sample_ids: list[str]) -> None:
        with contextlib.suppress(ExecutorError):
            _answer(self._actor.hang, sample_ids)

    def note_death(self, reason: str) -> None:
        self._actor.note_death.remote(reason)

    def end(self) -> None:
        self._actor.end.remote()

    def new_pass(self) -> int:
        return _answer(self._actor.new_pass)

    def read(self) -> Entries:
        """Return the current entries, or the last known ones if the roster does not answer."""
        try:
            self._last_read, self._read_at = _answer(self._actor.read), time.monotonic()
            return self._last_read
        except ExecutorError:  # of no pass, so that nothing is concluded from it
            silence_s = self._last_read.silence_s + time.monotonic() - self._read_at
            return replace(self._last_read, number=-1, silence_s=silence_s)


def _answer(method: Any, *arguments: Any) -> Any:
    """Call a method of the roster's actor and return its answer.

    Raises:
        ExecutorError: there is none within ``ANSWER_S``.
    """
    try:
        return ray.get(method.remote(*arguments), timeout=ANSWER_S)
    except RayError as error:
        raise ExecutorError(f"the roster does not answer: {last_line(error)}") from error


def last_line(error: BaseException) -> str:
    """Return the last line of an error's message, which has the cause where Ray writes several."""
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__


@contextlib.contextmanager
def open_roster() -> Iterator[RemoteRoster]:
    """Open a roster on this driver's node, which ends with the block.

    Ray starts it again, empty and elsewhere if need be, when its process or its node dies; the pass that ran then
    concludes nothing from it.
    """
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    actor = ray.remote(Roster).options(num_cpus=0, scheduling_strategy=here, max_restarts=-1).remote()
    try:
        yield RemoteRoster(actor)
    finally:
        ray.kill(actor)
