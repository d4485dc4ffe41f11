"""Join a Ray cluster that is there already, with the token that it asks for."""

import socket

import ray
from ray.exceptions import RayError

from pipeline.cluster.connection.ray_private import has_token, is_refused, resolve_address, uses_tokens
from pipeline.cluster.connection.ray_process import away_from_user_modules, set_variables, silent_core
from pipeline.errors import ConfigError

ANSWER_S = 10.0  # a cluster that does not take a connection by then is not there
TOKEN_SOURCES = "RAY_AUTH_TOKEN, the file that RAY_AUTH_TOKEN_PATH names, or ~/.ray/auth_token"


def join(address: str) -> None:
    """Connect to a cluster.

    Args:
        address: ``host:port``, or ``auto`` for the one that runs on this machine.

    Raises:
        ConfigError: nothing answers there, the token is missing or wrong, or it is the address of Ray's client, which
            Ray Data does not run through.
    """
    if address.startswith("ray://"):
        raise ConfigError(
            f"run.address: Ray's client, {address}, cannot run this job: name the cluster itself, such as "
            "ray-head:6379, on a machine of its network, or send the job there with ray job submit"
        )
    try:
        with silent_core():  # its errors are raised as well
            found = _find(address)
            _use_token_if_asked(found)
            with away_from_user_modules():
                ray.init(address=found, log_to_driver=False, logging_level="ERROR")
    except (OSError, ValueError, RuntimeError, RayError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"run.address: no Ray cluster answers at {address}: {error}") from error


def _find(address: str) -> str:
    """Resolve ``auto`` and see whether something listens there: Ray itself would wait for minutes."""
    found = resolve_address(address)
    if found is None:
        raise ConnectionError("none runs on this machine")
    host, _, port = found.rpartition(":")
    socket.create_connection((host.strip("[]"), int(port)), ANSWER_S).close()
    return found


def _use_token_if_asked(address: str) -> None:
    """Turn tokens on where the cluster asks for one; off macOS and Windows, Ray does so for ``auto`` only.

    Raises:
        ConfigError: the token is missing or wrong.
    """
    asked_here = uses_tokens()
    if asked_here and not has_token():  # Ray's core would end this process
        raise ConfigError(f"run.address: RAY_AUTH_MODE=token, but there is no token in {TOKEN_SOURCES}")
    if not is_refused(address):
        return
    if not has_token():
        raise ConfigError(
            f"run.address: the cluster at {address} asks for a token and there is none here: put that of its nodes "
            f"into {TOKEN_SOURCES}"
        )
    set_variables({"RAY_AUTH_MODE": "token"})
    if asked_here or is_refused(address):
        raise ConfigError(
            f"run.address: the cluster at {address} does not take the token that is here, the first of "
            f"{TOKEN_SOURCES}: put that of its nodes there"
        )
