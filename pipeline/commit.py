"""How rows become permanent: what they name is there, what they replace goes, and then they count."""

import os
import time
from collections.abc import Sequence

import pyarrow as pa

from pipeline.manifest import Manifest
from pipeline.plan import Plan
from pipeline.shards import sample_count
from pipeline.storage import Storage
from pipeline.supervisor import JobError

LATE_S = (0.5, 5.0, 60.0)  # so much later a network share may show what another node has stored


def commit_rows(manifest: Manifest, plan: Plan, rows: pa.Table, earlier_uris: Sequence[str | None]) -> None:
    """Commit rows of finished samples.

    Args:
        manifest: of the sink.
        plan: that the samples are of.
        rows: of ``MANIFEST_SCHEMA``.
        earlier_uris: of the results that these samples have had until now.

    Raises:
        JobError: results are not where the driver sees them.
        ManifestConflictError: another run has written to the sink.
    """
    _check_stored(manifest.storage, rows)
    _delete_replaced(manifest, plan, rows, earlier_uris)
    manifest.append(rows)


def _check_stored(sink: Storage, rows: pa.Table) -> None:
    """Look for one result of each worker on the driver's disk: nodes may not share the folder of the sink."""
    if not sink.is_local:
        return
    stored = dict(zip(rows["worker"].to_pylist(), rows["output_uri"].to_pylist(), strict=True))
    missing = {uri for uri in stored.values() if uri}
    for pause_s in LATE_S:
        missing = {uri for uri in missing if not os.path.exists(uri)}
        if not missing:
            return
        time.sleep(pause_s)
    raise JobError(f"a worker stored {min(missing)}, which the driver does not see: all nodes must share sink.uri")


def _delete_replaced(manifest: Manifest, plan: Plan, rows: pa.Table, earlier_uris: Sequence[str | None]) -> None:
    """Delete earlier results that samples no longer have, or have under another name.

    Before their rows are committed: a crash in between leaves samples to do, while later it would leave files that no
    row names. Shards lose them later, see :mod:`pipeline.repack`. What lies elsewhere, since the sink was moved, stays.
    """
    sink, names, uris = manifest.storage, rows["sample_id"].to_pylist(), rows["output_uri"].to_pylist()
    place = os.path.normpath if sink.is_local else str  # earlier versions have named a/./b what is a/b to a disk
    replaced = {
        name: earlier
        for name, earlier, current in zip(names, earlier_uris, uris, strict=True)
        if earlier
        and not (current and place(earlier) == place(current))
        and sample_count(earlier) is None
        and sink.holds(earlier)
    }
    if not replaced:
        return
    manifest.check()  # who has slept may hold what rows of another run name by now
    for uri in plan.unused(replaced):
        sink.delete(sink.key(uri))
