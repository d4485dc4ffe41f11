"""Samples that were deleted on request: noted in the sink by the hash of their names, left out of every later run."""

import hashlib
import json
from collections.abc import Iterable

from pipeline.database import Database
from pipeline.errors import ConfigError
from pipeline.storage.storage import Storage

KEY = "forgotten.json"


def read_forgotten(sink: Storage) -> set[str]:
    """Hashes of the samples that a sink is not to hold again.

    Raises:
        ConfigError: the file was changed by hand, and is none any more.
    """
    try:
        return set(json.loads(sink.read(KEY))["sha256"])
    except FileNotFoundError:
        return set()
    except (ValueError, TypeError, KeyError) as error:
        raise ConfigError(f'{sink.uri(KEY)} must hold {{"sha256": ["…", …]}}: {error!r}') from error


def note_forgotten(sink: Storage, sample_ids: Iterable[str]) -> None:
    """Add samples to those that the sink is not to hold again; for whoever holds the lease."""
    hashes = read_forgotten(sink) | set(map(name_hash, sample_ids))
    sink.write(KEY, json.dumps({"sha256": sorted(hashes)}, indent=0).encode())


def name_hash(sample_id: str) -> str:
    """What a sample's name becomes, since the name itself may tell what is to be forgotten."""
    return hashlib.sha256(sample_id.encode()).hexdigest()


def leave_out_forgotten(sink: Storage, database: Database) -> int:
    """Delete forgotten samples from the database's table ``samples``, and say how many they were."""
    hashes = read_forgotten(sink)
    if not hashes:
        return 0
    statement = "DELETE FROM samples WHERE sha256(sample_id) IN (SELECT unnest($hashes))"
    ((count,),) = database.run(statement, {"hashes": sorted(hashes)})
    return count
