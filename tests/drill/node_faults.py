"""Faults of nodes: they join late, leave, die, and come back under another head."""

import time

from tests.drill.field import LOOK_S, Field
from tests.drill.nodes import MAX_WORKERS

GRACE_S, END_S = 30.0, 15.0  # that Ray gives a node whose `ray start` received SIGTERM, and for its end after that
GROW_S = 300.0  # until workers run on nodes that joined


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


def restart_head(field: Field) -> bool:
    """Kill all nodes, the head first; start another head at the same address once the driver has given up, or before.

    The driver has to end with exit code 1, and the same command, started again, goes on.
    """
    driver = field.driver
    field.nodes.kill_all()
    is_patient = field.dice.random() < 0.5
    if driver is not None and is_patient:
        field.wait_for_one(driver)
    field.nodes.start()
    if driver is not None:
        field.wait_for_one(driver)
        field.counts[f"driver met its head's {'end' if is_patient else 'successor'}"] += 1
    return True
