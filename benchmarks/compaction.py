"""``python benchmarks/compaction.py [--rows 1000000] [--changed 1000]``: time and bytes of compacting a manifest.

A finished and compacted sink has so many rows; a run changes some, next to each other or spread over all, or adds as
many, and compacts.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial

from pipeline.bench.plan import finished_rows, peak_mb
from pipeline.bench.sink import fill_sink, made_up_key
from pipeline.database import Database
from pipeline.manifest.log import Manifest
from pipeline.records import OK, Record, to_table
from pipeline.storage.storage import Storage


class CountingStorage(Storage):
    """Counts the bytes of the files that it creates."""

    written_bytes = 0

    def create(self, key: str, data: bytes) -> None:
        """See :class:`pipeline.storage.storage.Storage`."""
        super().create(key, data)
        self.written_bytes += len(data)


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the arguments, measure, and print one line per case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--changed", type=int, default=1_000)
    options = parser.parse_args(arguments)
    rows, changed = options.rows, options.changed
    with tempfile.TemporaryDirectory() as folder:
        sink = str(fill_sink(folder, rows, partial(finished_rows, ""))[1])
        measure(sink, f"{rows} rows, first compaction")
        cases = {
            "next to each other": range(changed),
            "new": range(rows, rows + changed),
            "spread": range(0, rows, rows // changed),
        }
        for name, numbers in cases.items():
            manifest = Manifest(Storage(sink))
            manifest.is_tidy()  # finds the parts
            manifest.append(to_table([Record(made_up_key(number), OK, run_id=name) for number in numbers]))
            measure(sink, f"{rows} rows, {changed} {name}")


def measure(uri: str, case: str) -> None:
    """Compact a manifest as the end of a run does, when it has loaded the rows, and print time and bytes."""
    sink = CountingStorage(uri)
    manifest = Manifest(sink)
    with Database() as database:
        manifest.load_into(database, ["sample_id"])
    started = time.monotonic()
    manifest.compact()
    seconds = time.monotonic() - started
    total = sum(file.size_bytes for file in sink.list_files("manifest"))
    sys.stdout.write(
        f"{case}: {seconds:.2f} s, {sink.written_bytes / 1e6:.1f} of {total / 1e6:.1f} MB written, "
        f"peak {peak_mb():.0f} MB\n"
    )
    sys.stdout.flush()


if __name__ == "__main__":
    main()
