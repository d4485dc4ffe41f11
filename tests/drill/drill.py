"""One drill: an undisturbed run, the same job under fire, and the comparison of both."""

import contextlib
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.storage.storage import Storage
from tests.drill.faults import FAULTS
from tests.drill.faulty_proxy import faulty_proxy
from tests.drill.field import DrillError, Field
from tests.drill.judge import Verdict, judge
from tests.drill.nodes import MAX_WORKERS, started_nodes
from tests.drill.setting import Options, sample_names, small_disk, upload_samples, write_config
from tests.joined_cluster import ROOT
from tests.s3_server import s3_server

TIMEOUT_S = 3.0  # of one S3 request
UNBRAKED_PAUSE_S = 20.0  # mean seconds between two faults once each was done
LOGS = ROOT / "out"


@dataclass(frozen=True)
class Outcome:
    """Result of a drill.

    Args:
        seconds: that the job under fire took.
        counts: how often each fault was done, and how drivers ended.
        requests: how many requests to S3 met which fault.
        missed: names of faults that found the job done.
        verdict: of the comparison; ``None``: there was none.
        error: why there was none.
    """

    seconds: float
    counts: Counter[str]
    requests: Counter[str]
    missed: list[str]
    verdict: Verdict | None
    error: str | None = None

    @property
    def is_good(self) -> bool:
        """Whether every fault was done and nothing differs."""
        return self.verdict is not None and not self.missed and not any(self.verdict.differences.values())


def run_drill(options: Options) -> Outcome:
    """Run one drill; the log of its drivers is kept in ``out/``.

    Raises:
        DrillError: the undisturbed run failed.
        RuntimeError: the S3 server or the first nodes did not start.
    """
    with tempfile.TemporaryDirectory(prefix="drill-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        (folder / "s3").mkdir()
        s3 = stack.enter_context(s3_server(folder / "s3"))
        names = sample_names(options)
        upload_samples(Storage("s3://bucket", s3), names, options.seed)
        sinks, disk = "s3://bucket", None
        if options.store == "disk":
            (folder / "disk").mkdir()
            disk = stack.enter_context(small_disk(folder / "disk", options.samples))
            sinks = str(disk)
        calm = write_config(folder / "calm.yaml", f"{sinks}/calm", options, s3)
        code = subprocess.run(_command(calm, "FastWorker"), cwd=ROOT, check=False, stderr=subprocess.DEVNULL).returncode
        if code != 0:
            raise DrillError(f"the undisturbed run ended with exit code {code}")
        outcome = _under_fire(options, folder, s3, sinks, disk)
        if outcome.error is None:
            verdict = judge(Storage(f"{sinks}/calm", s3), Storage(f"{sinks}/fire", s3), s3, names)
            outcome = Outcome(outcome.seconds, outcome.counts, outcome.requests, outcome.missed, verdict)
        LOGS.mkdir(exist_ok=True)
        shutil.copy(folder / "driver.log", LOGS / f"drill-{options.seed}.log")
        return outcome


def _under_fire(options: Options, folder: Path, s3: dict[str, Any], sinks: str, disk: Path | None) -> Outcome:
    brake, dice, started = folder / "brake", random.Random(options.seed), time.monotonic()
    brake.touch()
    with started_nodes(brake) as nodes:
        command, sink = _command(folder / "fire.yaml", "FaultyWorker"), Storage(f"{sinks}/fire", s3)
        field = Field(command, sink, nodes, dice, folder / "driver.log", disk=disk)
        proxy = faulty_proxy(s3["endpoint_url"], options.faulty, TIMEOUT_S, options.seed, lambda: field.weather)
        with proxy as (url, requests):
            limits = {"read_timeout": TIMEOUT_S, "connect_timeout": TIMEOUT_S}
            storage = {**s3, "endpoint_url": url, "config_kwargs": limits}
            run = {"address": nodes.address, "actors": f"1..{MAX_WORKERS}"}
            write_config(folder / "fire.yaml", f"{sinks}/fire", options, storage, **run)
            field.deadline = time.monotonic() + options.limit_s
            error = None
            try:
                play(options, field, brake)
            except RuntimeError as stuck:  # DrillError, or a node that does not start
                error = str(stuck)
            finally:
                field.end()
    missed = [name for name in options.faults if not field.counts[name]]
    return Outcome(time.monotonic() - started, field.counts, requests, missed, None, error)


def play(options: Options, field: Field, brake: Path) -> None:
    """Do every fault to the job, then release the brake, and go on with faults until the job is done."""
    started = time.monotonic()
    for name, pause_s in _rounds(options, field, brake):
        field.wait_for_work()
        field.wait(field.dice.uniform(0.5, 1.5) * pause_s)
        if field.is_done:
            return
        is_done = FAULTS[name].do(field)
        field.counts[name] += is_done
        say(f"{time.monotonic() - started:4.0f} s  {name}{'' if is_done else ': found nothing to be done to'}")


def _rounds(options: Options, field: Field, brake: Path) -> Iterator[tuple[str, float]]:
    """Yield all faults, the growing pool first, with a pause before each; again and again in another order."""
    pause_s = options.every_s
    while True:
        names = [name for name in options.faults for _ in range(FAULTS[name].times)]
        field.dice.shuffle(names)
        for name in sorted(names, key=lambda name: name != "pool"):
            yield name, pause_s
        for name in options.faults:
            if not field.counts[name]:  # it had nothing to be done to
                yield name, pause_s
        brake.unlink(missing_ok=True)
        pause_s = max(2 * pause_s, UNBRAKED_PAUSE_S)  # longer each time, or a slow machine would never be done


def _command(config: Path, worker: str) -> list[str]:
    return [sys.executable, "-m", "tests.drill.fast_worker", str(config), worker]


def say(text: str) -> None:
    """Tell the person who watches."""
    print(f"drill: {text}", flush=True)  # noqa: T201 - this script talks to a person
