"""Faults of processes: workers, drivers and others are killed, or sleep."""

import contextlib
import os
import signal
import time

from pipeline.faults.roster import ALIVE_S
from pipeline.manifest.lease import SILENCE_S
from tests.drill.field import LOOK_S, Field
from tests.drill.nodes import WORKER

TAKE_OVER_S = 120.0  # until a second driver has the sink, most of them for its start
WORK_S = 15.0  # of a second driver while the first still sleeps


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


def stop_driver(field: Field) -> bool:
    """SIGSTOP the driver, start another one, and wake the first: one of the two has to end.

    In three of four cases the first sleeps until the second has taken over, else for less than the second watches. Who
    commits first goes on.
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
    ended = field.wait_for_one(sleeper, successor)
    field.driver = successor if ended is sleeper else sleeper
    who = "woken" if ended is sleeper else "second"
    field.counts[f"{who} driver ended with exit code {ended.returncode}"] += 1
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


def _kill(pid: int | None) -> bool:
    if pid is None:
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
        return True
    return False
