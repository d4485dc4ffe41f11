"""The private parts of Ray that ``cluster`` uses, each for want of a public one; a release of Ray may change them."""

import contextlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import ray
from ray._common.utils import get_default_ray_temp_dir
from ray._private import ray_constants
from ray._private.authentication.authentication_token_setup import (
    AuthenticationMode,
    AuthenticationTokenLoader,
    get_authentication_mode,
)
from ray._private.services import GcsClient, canonicalize_bootstrap_address
from ray.core.generated.gcs_pb2 import ActorTableData
from ray.exceptions import AuthenticationError

LOOPBACK = {ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR: "0"}  # for the processes that Ray starts, see on_loopback


def reread_variables() -> None:
    """Let Ray read its environment variables again: it read them when it was imported."""
    ray._raylet.Config.initialize("")  # `ray.init` itself does this when it turns tokens on
    AuthenticationTokenLoader.instance().reset_cache()


def print_lines_of_nodes(is_wanted: bool) -> None:
    """Choose whether lines that Ray's nodes send to drivers are printed.

    ``log_to_driver=False`` stops lines of workers only. Ray's debugger uses the same switch.
    """
    ray._private.worker._worker_logs_enabled = is_wanted


def forbid_auto_connect() -> None:
    """Keep calls of Ray from starting a cluster where none is connected, as its variable does before the import.

    A thread that still draws rows of a flow when the job has ended would otherwise start a cluster of its own.
    """
    ray._private.auto_init_hook.enable_auto_connect = False


@contextlib.contextmanager
def on_loopback() -> Iterator[None]:
    """Let Ray take 127.0.0.1 for the address of this machine, as it does on macOS; then it listens nowhere else.

    The variable of this constant is public, but read when Ray is imported; ``_node_ip_address="127.0.0.1"`` is
    replaced by an outer address.
    """
    kept = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = kept


def temporary_folder() -> Path:
    """Return where Ray puts its temporary files; the public ``RAY_TMPDIR`` is only one of the sources."""
    return Path(get_default_ray_temp_dir())


def resolve_address(address: str) -> str | None:
    """Resolve ``auto`` as ``ray.init`` does first; ``None`` if no cluster runs on this machine."""
    return canonicalize_bootstrap_address(address)


def uses_tokens() -> bool:
    """Return whether this process sends a token."""
    return get_authentication_mode() == AuthenticationMode.TOKEN


def has_token() -> bool:
    """Return whether this process finds a token; ``ray get-auth-token`` only prints it."""
    try:
        return AuthenticationTokenLoader.instance().has_token(ignore_auth_mode=True)
    except AuthenticationError:  # RAY_AUTH_TOKEN_PATH names no file
        return False


def is_refused(address: str) -> bool:
    """Return whether a cluster refuses this process's token, or its lack; ``ray.init`` takes 20 s and never says."""
    try:
        GcsClient(address=address)
    except AuthenticationError:
        return True
    return False


def cluster_id(address: str) -> str:
    """Return the id that the head node at an address gave its cluster when it started; no public call has it.

    Raises:
        Exception: it does not answer.
    """
    found: str = GcsClient(address=address).cluster_id.hex()
    return found


def draining_nodes() -> Collection[str]:
    """Return the ids of nodes that are being drained; the public state API needs Ray's dashboard."""
    nodes: Collection[str] = ray._private.state.state.get_draining_nodes()
    return nodes


def placed_actors() -> list[tuple[str, dict[str, float]]]:
    """Return the id of the job and the reserved resources of every actor that has its place on a node; as above."""
    accessor = ray._private.state.state._connect_and_get_accessor()
    table = [row for state in ("ALIVE", "PENDING_CREATION") for row in accessor.get_actor_table(None, state)]
    actors = [actor for actor in map(ActorTableData.FromString, table) if actor.address.node_id.strip(b"\xff")]
    return [(actor.job_id.hex(), dict(actor.required_resources)) for actor in actors]


def jobs() -> list[dict[str, Any]]:
    """Return the jobs of the cluster: ``JobID``, ``Entrypoint``, ``DriverIPAddress`` and others; as above."""
    table: list[dict[str, Any]] = ray._private.state.jobs()
    return table
