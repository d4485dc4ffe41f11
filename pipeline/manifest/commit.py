"""Commits rows after checking that their results exist."""

import os
import time

import pyarrow as pa

from pipeline.errors import JobError
from pipeline.manifest.log import Manifest
from pipeline.storage.storage import Storage

LATE_S = (0.5, 5.0, 60.0)  # so much later a network share may show what another node has stored


def commit_rows(manifest: Manifest, rows: pa.Table) -> None:
    """Commit rows of finished samples.

    Args:
        manifest: of the sink.
        rows: of ``MANIFEST_SCHEMA``.

    Raises:
        JobError: results are not where the driver sees them.
        ManifestConflictError: another run has written to the sink.
    """
    _check_stored(manifest.storage, rows)
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
