"""The faults of a drill, by name. Each is done to a job at work, and returns once the job can go on.

A fault that finds nothing to be done to (no worker that runs, say) returns ``False`` and does not count.
"""

import contextlib
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.faults.roster import ALIVE_S
from pipeline.manifest.lease import SILENCE_S
from tests.drill.faulty_proxy import Weather
from tests.drill.field import LOOK_S, Field
from tests.drill.nodes import MAX_WORKERS, WORKER

GRACE_S, END_S = 30.0, 15.0  # that Ray gives a node whose `ray start` received SIGTERM, and for its end after that
GROW_S = 300.0  # until workers run on nodes that joined
TAKE_OVER_S = 120.0  # until a second driver has the sink, most of them for its start
WORK_S = 15.0  # of a second driver while the first still sleeps
WEATHER_S = 15.0  # of a storm
FULL_S = 15.0  # of a disk


def kill_actor(field: Field) -> bool:
    """SIGKILL a worker of the job."""
    return _kill(field.pick(WORKER))


def kill_process(field: Field) -> bool:
    """SIGKILL any process that a node has started for jobs: a worker, an idle one, the roster, an actor of Ray Data."""
    return _kill(field.pick())


def kill_driver(field: Field) -> bool:
    """SIGKILL the driver; the same command is started again."""
    if field.driver is None:
        return False
    field.driver.kill()
    field.driver.wait()
    return True


def kill_node(field: Field) -> bool:
    """SIGKILL all processes of a node, and start another node."""
    field.nodes.join()
    return leave(field)


def join(field: Field) -> bool:
    """Let a node join late."""
    field.nodes.join()
    return True


def join_unfit(field: Field) -> bool:
    """Let a node join on which no worker works."""
    field.nodes.join(is_fit=False)
    return True


def leave(field: Field) -> bool:
    """SIGKILL all processes of a node, for good."""
    field.nodes.kill()
    return True


def drain(field: Field) -> bool:
    """SIGTERM to the `ray start` of a node, which has to end within its grace period, for good."""
    took_s = field.nodes.drain(GRACE_S + END_S)
    field.counts["drained node had to be ended by Ray"] += took_s >= GRACE_S
    return True


def pool(field: Field) -> bool:
    """Let nodes join until the pool has grown to four workers, then leave until two are left."""
    while len(field.nodes.fit) < MAX_WORKERS:
        field.nodes.join()
    deadline = time.monotonic() + GROW_S
    while len(field.nodes.workers()) < MAX_WORKERS:
        field.wait(LOOK_S)
        if field.is_done or time.monotonic() > deadline:
            return False
    drain(field)
    return leave(field)


def stop_driver(field: Field) -> bool:
    """SIGSTOP the driver, start another one, and wake the first: one of the two has to end with exit code 1.

    In three of four cases the first sleeps until the second has taken over, else for less than the second watches.
    """
    sleeper = field.driver
    if sleeper is None:
        return False
    field.nodes.join()  # workers of the one that sleeps keep their nodes
    sleeper.send_signal(signal.SIGSTOP)
    successor = field.new_driver()
    is_short = field.dice.random() < 0.25
    until = time.monotonic() + (SILENCE_S / 2 if is_short else TAKE_OVER_S)
    while time.monotonic() < until and successor.poll() is None and field.holder() != successor.pid:
        time.sleep(LOOK_S)
    time.sleep(0 if is_short else WORK_S)
    sleeper.send_signal(signal.SIGCONT)
    if field.holder() == sleeper.pid:
        code, field.driver = field.wait_for_end(successor), sleeper
        field.counts[f"second driver refused with exit code {code}"] += 1
    else:
        code, field.driver = field.wait_for_end(sleeper), successor
        field.counts[f"woken driver ended with exit code {code}"] += 1
    return True


def stop_worker(field: Field) -> bool:
    """SIGSTOP a worker until it is no longer taken to be alive, and wake it."""
    if (pid := field.pick(WORKER)) is None:
        return False
    with contextlib.suppress(ProcessLookupError):  # its driver was started again
        os.kill(pid, signal.SIGSTOP)
        field.wait(ALIVE_S + 5)
        os.kill(pid, signal.SIGCONT)
    return True


def restart_head(field: Field) -> bool:
    """Kill all nodes, the head first; start another head at the same address once the driver has given up, or before.

    The driver has to end with exit code 1, and the same command, started again, goes on.
    """
    driver = field.driver
    field.nodes.kill_all()
    is_patient = field.dice.random() < 0.5
    if driver is not None and is_patient:
        field.wait_for_end(driver)
    field.nodes.start()
    if driver is not None:
        field.wait_for_end(driver)
        field.counts[f"driver met its head's {'end' if is_patient else 'successor'}"] += 1
    return True


def fill_disk(field: Field) -> bool:
    """Fill the disk of the sink, and make room again."""
    if field.disk is None:
        return False
    ballast = field.disk / "ballast"
    with _ballast(ballast):
        field.wait(FULL_S)
    return True


@contextlib.contextmanager
def _ballast(path: Path):
    with contextlib.suppress(OSError), path.open("ab", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    try:
        yield
    finally:
        path.unlink()


def _weather(weather: Weather) -> Callable[[Field], bool]:
    def change(field: Field) -> bool:
        field.weather = weather
        field.wait(WEATHER_S)
        field.weather = Weather.FAIR
        return True

    change.__doc__ = f"For {WEATHER_S:g} s {weather.value}."
    return change


def _kill(pid: int | None) -> bool:
    if pid is None:
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
        return True
    return False


@dataclass(frozen=True)
class Fault:
    """A fault of the table.

    Args:
        do: does it.
        tested_by: a small test of it, which `make test` runs: path below ``tests/``, and name.
        times: how often in one round.
    """

    do: Callable[[Field], bool]
    tested_by: str
    times: int = 1


_ELASTIC = "pipeline/cluster/test_elastic.py::test_workers_follow_the_cluster_and_leave_within_their_grace_period"
_KILLED = (
    "pipeline/scenarios/test_whose_fault.py"
    "::test_any_number_of_killers_and_a_hang_are_rows_and_their_neighbours_are_done"
)
_WEATHER = "pipeline/scenarios/test_storage_weather.py::test_bad_weather_while_workers_work_changes_nothing"

FAULTS = {
    "pool": Fault(pool, _ELASTIC),
    "actor": Fault(kill_actor, _KILLED, 2),
    "process": Fault(
        kill_process, "pipeline/faults/test_roster.py::test_roster_comes_back_empty_and_tells_that_it_was_gone"
    ),
    "driver": Fault(
        kill_driver,
        "pipeline/scenarios/test_kill_points.py::test_rows_are_inputs_each_once_wherever_the_job_is_killed",
    ),
    "node": Fault(kill_node, _KILLED),  # to the job, a node that dies is workers that die
    "join": Fault(join, _ELASTIC),
    "unfit": Fault(
        join_unfit,
        "pipeline/scenarios/test_whose_fault.py"
        "::test_node_whose_workers_do_not_work_is_named_and_the_other_one_does_its_samples",
    ),
    "leave": Fault(leave, _KILLED),
    "drain": Fault(drain, _ELASTIC),
    "sleeping-driver": Fault(
        stop_driver,
        "pipeline/faults/test_sink_holder.py::test_run_that_wakes_after_another_has_finished_replaces_nothing",
    ),
    "sleeping-worker": Fault(
        stop_worker,
        "pipeline/faults/test_roster.py::test_worker_that_sleeps_is_not_alive_until_it_wakes_and_the_others_are",
    ),
    "head": Fault(
        restart_head,
        "pipeline/cluster/test_connect.py"
        "::test_loss_of_the_head_node_is_told_in_one_line_and_ends_the_driver_with_exit_code_1",
    ),
    "full-disk": Fault(
        fill_disk,
        "pipeline/faults/test_write_retries.py::test_full_disk_ends_the_job_in_time_and_the_same_command_goes_on",
    ),
    "read-only": Fault(_weather(Weather.READ_ONLY), _WEATHER),
    "storm": Fault(_weather(Weather.STORM), _WEATHER),
    "cut": Fault(_weather(Weather.CUTTING), _WEATHER),
    "reset": Fault(_weather(Weather.RESETTING), _WEATHER),
}
