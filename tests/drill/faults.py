"""The faults of a drill, by name. Each is done to a job at work, and returns once the job can go on.

A fault that finds nothing to be done to (no worker that runs, say) returns ``False`` and does not count.
"""

from collections.abc import Callable
from dataclasses import dataclass

from tests.drill import node_faults, process_faults
from tests.drill.faulty_proxy import Weather
from tests.drill.field import Field
from tests.drill.storage_faults import change_weather, fill_disk


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
    "pool": Fault(node_faults.pool, _ELASTIC),
    "actor": Fault(process_faults.kill_actor, _KILLED, 2),
    "process": Fault(
        process_faults.kill_process,
        "pipeline/faults/test_roster.py::test_roster_comes_back_empty_and_tells_that_it_was_gone",
    ),
    "driver": Fault(
        process_faults.kill_driver,
        "pipeline/scenarios/test_kill_points.py::test_rows_are_inputs_each_once_wherever_the_job_is_killed",
    ),
    "node": Fault(node_faults.kill_node, _KILLED),  # to the job, a node that dies is workers that die
    "join": Fault(node_faults.join, _ELASTIC),
    "unfit": Fault(
        node_faults.join_unfit,
        "pipeline/scenarios/test_whose_fault.py"
        "::test_node_whose_workers_do_not_work_is_named_and_the_other_one_does_its_samples",
    ),
    "leave": Fault(node_faults.leave, _KILLED),
    "drain": Fault(node_faults.drain, _ELASTIC),
    "sleeping-driver": Fault(
        process_faults.stop_driver,
        "pipeline/faults/test_sink_holder.py::test_run_that_wakes_after_another_has_finished_replaces_nothing",
    ),
    "sleeping-worker": Fault(
        process_faults.stop_worker,
        "pipeline/faults/test_roster.py::test_worker_that_sleeps_is_not_alive_until_it_wakes_and_the_others_are",
    ),
    "head": Fault(
        node_faults.restart_head,
        "pipeline/cluster/connection/test_connect.py"
        "::test_loss_of_the_head_node_is_told_in_one_line_and_ends_the_driver_with_exit_code_1",
    ),
    "full-disk": Fault(
        fill_disk,
        "pipeline/faults/test_write_retries.py::test_full_disk_ends_the_job_in_time_and_the_same_command_goes_on",
    ),
    "read-only": Fault(change_weather(Weather.READ_ONLY), _WEATHER),
    "storm": Fault(change_weather(Weather.STORM), _WEATHER),
    "cut": Fault(change_weather(Weather.CUTTING), _WEATHER),
    "reset": Fault(change_weather(Weather.RESETTING), _WEATHER),
}
