"""Clusters that were started apart are joined, with a token where they ask for one."""

import pytest

from tests.joined_cluster import joined_cluster, run_driver

TOKEN, OTHER = 32 * "ab", 32 * "cd"
JOIN = """
import sys
import ray
from pipeline.cluster.connection.connect import connected
from pipeline.errors import ConfigError
try:
    with connected(sys.argv[1]):
        print("joined", ray.get(ray.remote(lambda: 1).remote()))
except ConfigError as error:
    print(error)
"""


@pytest.fixture(scope="module")
def guarded_cluster():
    with joined_cluster(env={"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN}) as cluster:
        yield cluster


def home_with(folder, token: str) -> str:
    (folder / ".ray").mkdir()
    (folder / ".ray" / "auth_token").write_text(token)
    return str(folder)


def join(address: str, home, **variables: str) -> str:
    driver = run_driver(JOIN, address, env={"HOME": str(home), **variables})
    output, errors = driver.communicate(timeout=120)
    assert driver.returncode == 0 and not errors, errors
    assert TOKEN not in output and OTHER not in output
    return output


def test_token_at_hand_is_used_where_it_is_asked_for(guarded_cluster, tmp_path):
    address = guarded_cluster.address
    assert join(address, tmp_path, RAY_AUTH_TOKEN=TOKEN) == "joined 1\n"
    (tmp_path / "token").write_text(TOKEN)
    assert join(address, tmp_path, RAY_AUTH_TOKEN_PATH=str(tmp_path / "token")) == "joined 1\n"
    assert join(address, home_with(tmp_path, TOKEN)) == "joined 1\n"


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({}, "asks for a token and there is none here: put that of its nodes into RAY_AUTH_TOKEN, the file"),
        ({"RAY_AUTH_TOKEN_PATH": "/no/file"}, "asks for a token and there is none here: put that of its nodes into"),
        ({"RAY_AUTH_TOKEN": OTHER}, "does not take the token that is here, the first of RAY_AUTH_TOKEN, the file"),
        ({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": OTHER}, "does not take the token that is here, the first of"),
        ({"RAY_AUTH_MODE": "token"}, "RAY_AUTH_MODE=token, but there is no token in RAY_AUTH_TOKEN, the file that"),
    ],
)
def test_token_that_is_missing_or_wrong_is_a_configuration_error(guarded_cluster, tmp_path, variables, message):
    output = join(guarded_cluster.address, tmp_path, **variables)
    assert output.startswith("run.address: ") and message in output and output.count("\n") == 1


def test_token_at_hand_does_no_harm_where_none_is_asked_for(joined_cluster, tmp_path):
    assert join(joined_cluster.address, home_with(tmp_path, OTHER)) == "joined 1\n"


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("127.0.0.1:1", "no Ray cluster answers at 127.0.0.1:1: "),
        ("head", "no Ray cluster answers at head: "),
        ("ray://127.0.0.1:10001", "Ray's client, ray://127.0.0.1:10001, cannot run this job"),
    ],
)
def test_cluster_that_is_not_there_is_a_configuration_error_at_once(tmp_path, address, message):
    assert join(address, tmp_path).startswith(f"run.address: {message}")
