"""Deletes earlier snapshots of an Iceberg table, and the files that only they name."""

import contextlib
from collections.abc import Iterable
from typing import Any


def purge_snapshots(table: Any) -> None:
    """Expire all snapshots of a table but the current one, and delete their files.

    pyiceberg expires snapshots in the metadata only. Files that no snapshot names, as killed writers leave them, stay.

    Args:
        table: of pyiceberg.
    """
    current = table.current_snapshot()
    expired = [one for one in table.snapshots() if current is None or one.snapshot_id != current.snapshot_id]
    if not expired:
        return
    unneeded = _files(table, expired) - _files(table, [current] if current else [])
    table.maintenance.expire_snapshots().by_ids([one.snapshot_id for one in expired]).commit()
    for path in sorted(unneeded):
        with contextlib.suppress(FileNotFoundError):
            table.io.delete(path)


def _files(table: Any, snapshots: Iterable[Any]) -> set[str]:
    """Return the files that snapshots name: lists of manifests, manifests, and data files."""
    found: set[str] = set()
    seen: set[str] = set()
    for snapshot in snapshots:
        found.add(snapshot.manifest_list)
        for manifest in snapshot.manifests(table.io):
            if manifest.manifest_path in seen:
                continue
            seen.add(manifest.manifest_path)
            found.update(entry.data_file.file_path for entry in manifest.fetch_manifest_entry(table.io))
    return found | seen
