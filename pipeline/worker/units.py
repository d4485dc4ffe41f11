"""Units of work: samples that are sent to a worker together."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipeline.config.job import SinkConfig
from pipeline.records import SAMPLE_SCHEMA
from pipeline.sources.inputs import Sample

SMALL_UNIT = 64  # samples
UNITS_EACH = 8  # of a worker, so that work spreads evenly and a crash loses little


@dataclass(frozen=True)
class UnitBounds:
    """Limits of a unit of work.

    Args:
        samples, size_bytes: of a unit at most.
        count: number of units that few samples are spread over.
    """

    samples: int = SMALL_UNIT
    size_bytes: int = 16 << 20
    count: int = UNITS_EACH

    @classmethod
    def of_sink(cls, sink: SinkConfig, workers: int) -> "UnitBounds":
        """Return the bounds for a sink and a number of workers: one shard for a sharded one, otherwise small units."""
        if sink.is_sharded:
            return cls(sink.shard_samples, sink.shard_bytes, workers)
        return cls(count=workers * UNITS_EACH)


SMALL_UNITS = UnitBounds()


def make_units(samples: pa.Table, max_samples: int, max_bytes: int) -> pa.ListArray:
    """Group samples, with at least the columns of ``SAMPLE_SCHEMA``, into one list per unit."""
    edges = cut_units(samples["size_bytes"].to_numpy(), max_samples, max_bytes)
    structs = samples.select(SAMPLE_SCHEMA.names).combine_chunks().to_struct_array()
    return pa.ListArray.from_arrays(pa.array(edges, pa.int32()), pa.concat_arrays(structs.chunks))


def samples_of(batch: pa.Table) -> list[Sample]:
    """Return the samples of units from a column ``samples`` made by :func:`make_units`."""
    return batch["samples"].combine_chunks().flatten().to_pylist()


def cut_units(sizes: np.ndarray, max_samples: int, max_bytes: int) -> list[int]:
    """Cut samples into units of work of bounded count and size; a larger sample is a unit of its own.

    Args:
        sizes: bytes of each sample.
        max_samples, max_bytes: of a unit.

    Returns:
        Start of each unit, and the end of the last.
    """
    ends = np.cumsum(sizes)
    edges = [0]
    while edges[-1] < len(sizes):
        start = edges[-1]
        done_bytes = ends[start - 1] if start else 0
        fitting = int(np.searchsorted(ends, done_bytes + max_bytes, side="right"))
        edges.append(min(max(fitting, start + 1), start + max_samples))
    return edges
