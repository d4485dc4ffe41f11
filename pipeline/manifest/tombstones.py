"""Records samples that were deleted on request, by the hash of their names, so that later runs skip them."""

import hashlib
import json
from collections.abc import Iterable

from pipeline.database import Database
from pipeline.errors import ConfigError
from pipeline.storage.storage import Storage

KEY = "forgotten.json"


def read_forgotten(sink: Storage) -> set[str]:
    """Read the hashes of samples that were deleted on request.

    Raises:
        ConfigError: the file was edited and is no longer valid.
    """
    try:
        return set(json.loads(sink.read(KEY))["sha256"])
    except FileNotFoundError:
        return set()
    except (ValueError, TypeError, KeyError) as error:
        raise ConfigError(f'{sink.uri(KEY)} must hold {{"sha256": ["…", …]}}: {error!r}') from error


def note_forgotten(sink: Storage, sample_ids: Iterable[str]) -> None:
    """Record samples as deleted on request; the caller must hold the lease."""
    hashes = read_forgotten(sink) | set(map(name_hash, sample_ids))
    sink.write(KEY, json.dumps({"sha256": sorted(hashes)}, indent=0).encode())


def name_hash(sample_id: str) -> str:
    """Hash a sample's name, since the name itself may be personal data."""
    return hashlib.sha256(sample_id.encode()).hexdigest()


def leave_out_forgotten(sink: Storage, database: Database) -> int:
    """Delete forgotten samples from the table ``samples``, and return their number."""
    hashes = read_forgotten(sink)
    if not hashes:
        return 0
    statement = "DELETE FROM samples WHERE sha256(sample_id) IN (SELECT unnest($hashes))"
    ((count,),) = database.run(statement, {"hashes": sorted(hashes)})
    return count
