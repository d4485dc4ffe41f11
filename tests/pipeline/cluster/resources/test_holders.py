"""Names of other jobs, for the line that says who holds what is missing."""

import pytest

from pipeline.cluster.resources.holders import _name


@pytest.mark.parametrize(
    ("entrypoint", "named"),
    [
        ("/usr/bin/python /home/me/train.py --key secret", "train.py "),
        ("python -m team.train --key secret", "team.train "),
        ("python -c import os; os.environ['KEY']='secret'", ""),
        ("", ""),
    ],
)
def test_other_jobs_are_named_by_their_script_without_its_arguments(entrypoint, named):
    assert _name({"Entrypoint": entrypoint, "DriverIPAddress": "10.0.0.7"}, "02") == f"job 02 ({named}from 10.0.0.7)"


def test_job_of_which_nothing_is_known_is_named_by_its_id():
    assert _name({}, "02") == "job 02"
