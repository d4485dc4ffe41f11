"""How fast photos stream into training, and in how much memory: ``python benchmarks/training_stream.py --help``.

``crops`` reads, decodes and cuts photos on one thread. ``order`` streams the names of tiny photos that it writes into
shards, ``decode`` their pixels too; both state how memory grows.
"""

import argparse
import io
import json
import resource
import sys
import tarfile
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
from PIL import Image

from pipeline.config.source import SourceConfig
from pipeline.training.crops import CropSample
from pipeline.training.job import StreamSettings
from pipeline.training.order import Position, SampleOrder
from pipeline.training.stream import LocalChunks, in_order

SHARD_SAMPLES = 5000


def measure_crops(folder: Path, size_px: int, samples: int) -> dict[str, object]:
    """Return samples per second of one thread."""
    settings = StreamSettings(
        SourceConfig(format="images", uri=str(folder)), None, size_px, ("thin", "medium", "thick"), shuffle=64
    )
    order = SampleOrder(settings)
    chunks = LocalChunks(order)
    chunks.threads = 1
    started, cpu, good, bad = time.monotonic(), time.process_time(), 0, 0
    for _, sample in in_order(chunks(Position())):
        good, bad = good + isinstance(sample, CropSample), bad + isinstance(sample, str)
        if good == samples:
            break
    seconds, cpu_s = time.monotonic() - started, time.process_time() - cpu
    return {"samples": good, "left_out": bad, "per_s": round(good / seconds, 1), "per_cpu_s": round(good / cpu_s, 1)}


def write_shards(folder: Path, shards: int) -> None:
    """Write shards of tiny JPEGs."""
    folder.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (16, 16, 3), np.uint8)).save(buffer, "JPEG", quality=50)
    for shard in range(shards):
        path = folder / f"{shard:05}.tar"
        if path.exists():
            continue
        with tarfile.open(path, "w") as tar:
            for number in range(SHARD_SAMPLES):
                info = tarfile.TarInfo(f"{number:06}.jpg")
                info.size = len(buffer.getvalue())
                tar.addfile(info, io.BytesIO(buffer.getvalue()))


def measure_order(folder: Path, samples: int, decode: bool) -> dict[str, object]:
    """Return samples per second of listing, shuffling and, if wanted, decoding, and how memory grows meanwhile."""
    shards = -(-samples // SHARD_SAMPLES)
    write_shards(folder, shards)
    settings = StreamSettings(SourceConfig(format="webdataset", uri=str(folder)), None, 16, ("boxes",), shuffle=256)
    order = SampleOrder(settings)
    started, done, memory = time.monotonic(), 0, []
    marks = iter(samples * share // 10 for share in count(1))
    mark = next(marks)
    stream = (1 for _ in in_order(LocalChunks(order)(Position()))) if decode else _counts(order)
    for number in stream:
        done += number
        if done >= mark:
            mark = next(marks)
            memory.append(round(resident_mb()))
        if done >= samples:
            break
    seconds = time.monotonic() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"samples": done, "per_s": round(done / seconds), "memory_mb": memory, "peak_mb": round(peak)}


def _counts(order: SampleOrder) -> Iterator[int]:
    return (len(chunk.places) for chunk in order.chunks(Position()))


def resident_mb() -> float:
    """Return the memory of this process that is resident."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def main() -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("what", choices=("crops", "order", "decode"))
    parser.add_argument("folder", type=Path, help="of photos for crops; else where shards are written")
    parser.add_argument("--size", type=int, default=512, help="side of the crops, in pixels")
    parser.add_argument("--samples", type=int, default=200)
    options = parser.parse_args()
    if options.what == "crops":
        figures = measure_crops(options.folder, options.size, options.samples)
    else:
        figures = measure_order(options.folder, options.samples, options.what == "decode")
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
