"""``python -m tests.pipeline.faulty_job ADDRESS FOLDER FAULTS KEY=VALUE …``: a job whose workers have faults.

``FAULTS`` is JSON: what happens on nodes of some host name, or everywhere (``*``), in the constructor, in the model, at
every call, and the host whose workers are awaited (``awaits``). Samples called ``…kill…`` kill their worker and those
called ``…hang…`` never end, whatever it says.
"""

import json
import os
import signal
import socket
import sys
import time
from pathlib import Path

import jobs.inpaint
from pipeline.executor.ray_data import RayExecutor
from pipeline.worker.actor import InpaintActor
from tests.drill.fast_worker import FastModel

FAULTS = "faults.json"  # beside the sink


class SlowModel(FastModel):
    def generate(self, pixels, masks, seeds):
        time.sleep(0.3)
        return super().generate(pixels, masks, seeds)


class BrokenModel(FastModel):
    def generate(self, pixels, masks, seeds):
        raise FloatingPointError("the model produced NaN or infinite pixels")


class FaultyEngine(InpaintActor):
    def __init__(self, config, *arguments):
        faults = json.loads((Path(config.sink.uri).parent / FAULTS).read_text())
        self.faults = {**faults.get("*", {}), **faults.get(socket.gethostname(), {})}
        folder = Path(config.sink.uri).parent
        (folder / socket.gethostname()).touch()
        while not (folder / self.faults.get("awaits", "")).exists():
            time.sleep(0.1)
        if "constructor" in self.faults:
            raise RuntimeError(self.faults["constructor"])
        super().__init__(config, *arguments)

    def load_model(self, weights):
        return BrokenModel() if "model" in self.faults else SlowModel() if "slow" in self.faults else FastModel()

    def run(self, samples, sink=None):
        if "call" in self.faults:
            raise KeyError(self.faults["call"])
        if "death" in self.faults:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().run(samples, sink)

    def _decode(self, task, *given):
        if "kill" in task.record.sample_id:
            os.kill(os.getpid(), signal.SIGKILL)
        if "hang" in task.record.sample_id:
            time.sleep(3600)
        super()._decode(task, *given)


if __name__ == "__main__":
    from tests.pipeline.faulty_job import FaultyEngine as Engine  # as workers find it, not as __main__

    address, folder, faults, *overrides = sys.argv[1:]
    (Path(folder) / FAULTS).write_text(faults)
    places = [f"source.uri={folder}/photos", f"mask.uri={folder}/masks", f"sink.uri={folder}/out"]
    cluster = [] if address == "local" else [f"run.address={address}"]
    arguments = ["conf/inpaint.yaml", *places, *cluster, "run.report=false", *overrides]
    sys.exit(jobs.inpaint.main(arguments, RayExecutor(Engine)))
