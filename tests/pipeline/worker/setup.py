"""A small job for tests of workers without Ray."""

from dataclasses import replace
from pathlib import Path

from pipeline.config.job import JobConfig, LimitsConfig, MaskConfig, ModelConfig, SinkConfig, SourceConfig
from pipeline.faults.passes import History, Pass
from pipeline.faults.roster import Roster
from pipeline.storage.weights import fetch_weights
from pipeline.worker.pool import Pool
from pipeline.worker.worker import Worker
from tests.conftest import make_photos, planned_sample
from tests.pipeline.worker.test_actor import EchoActor

NAMES = [f"{index:03}.png" for index in range(6)]
GOOD = (planned_sample("000.png"), planned_sample("001.png"))
FRESH, AGAIN = Pass(), Pass(History.DEFERRED, known_good=GOOD)
ALONE = Pass(History.LOST_AGAIN, known_good=GOOD)


class Setup:
    """A job over six photos, and workers of it."""

    def __init__(self, folder: Path, weights: Path):
        make_photos(folder, count=6)
        self.folder, self.roster, self.limits = folder, Roster(), LimitsConfig(stall_s=1.0)
        self.config = JobConfig(
            source=SourceConfig(uri=str(folder / "photos")),
            mask=MaskConfig(uri=str(folder / "masks")),
            model=ModelConfig(weights=str(weights)),
            sink=SinkConfig(uri=str(folder / "out")),
        )

    def worker(self, this_pass: Pass = FRESH, engine=EchoActor, must_leave=lambda: False) -> Worker:
        config = replace(self.config, limits=self.limits)
        fingerprint = fetch_weights(config.model.weights, {}).fingerprint
        return Worker(engine, (config, fingerprint, "run", Pool(1, 0, 1, 2)), this_pass, self.roster, must_leave)

    def lose(self, *names: str) -> None:
        for name in names:
            (self.folder / "photos" / name).unlink()

    @property
    def troubles(self):
        return list(self.roster.read().troubles.values())
