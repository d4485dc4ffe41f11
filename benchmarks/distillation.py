"""The claim of distillation in small: a student with a teacher against the same student without.

A small teacher is trained first, then the student alone and with the losses of distillation, balanced either way; all
see the same crops, masks, times and noise. Since a step beside a teacher takes longer, the student alone is also given
a third more steps, which was about as long on a CPU. Each is measured on photos that none saw. Killed, it goes on.

``python benchmarks/distillation.py PHOTOS.npz PHOTOS.held_out.npz --vae moebius/nano/vae --folder out/distillation``
"""

import argparse
import csv
import json
import logging
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from moebius.hardware import device_name, versions  # noqa: E402 - see above
from moebius.train.loop import VALIDATION, train  # noqa: E402
from moebius.train.settings import TrainSettings  # noqa: E402
from moebius.train.tasks.build import build_task  # noqa: E402
from moebius.train.tasks.teacher import FILE  # noqa: E402

LONGER = "alone, a third more steps"
STUDENTS = {
    "alone": {"mode": "diffusion"},
    LONGER: {"mode": "diffusion"},
    "distilled, balanced as published": {"mode": "distil", "balancing": "published"},
    "distilled, balanced as in the paper": {"mode": "distil", "balancing": "paper"},
}


def main() -> None:
    """Train all, print one table and write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos")
    parser.add_argument("held_out")
    parser.add_argument("--vae", default="moebius/nano/vae")
    parser.add_argument("--folder", type=Path, default=Path("out/distillation"))
    parser.add_argument("--teacher-steps", type=int, default=800)
    parser.add_argument("--steps", type=int, default=400, help="of each student, but for the one that is given more")
    parser.add_argument("--batch-size", type=int, default=48)
    parser.add_argument("--image-size", type=int, default=64, help="side of the windows, in pixels")
    parser.add_argument("--output", type=Path, help="the figures as JSON")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")

    common = {
        "photos": options.photos,
        "held_out": options.held_out,
        "vae": options.vae,
        "batch_size": options.batch_size,
        "image_size": options.image_size,
        "learning_rate": 2e-3,
        "ema_decay": 0.99,
        "masks": ("thin", "medium", "thick", "boxes"),
        "uniform_times": True,
        "cached": 12000,
        "log_every": 1,
    }
    teacher = options.folder / "teacher"
    runs = {"teacher": {"mode": "teacher", "steps": options.teacher_steps}}
    for name, fields in STUDENTS.items():
        steps = options.steps * 4 // 3 if name == LONGER else options.steps
        runs[name] = fields | {"steps": steps, "teacher": str(teacher / FILE)}
    rows = []
    for name, fields in runs.items():
        folder = options.folder / name.replace(",", "").replace(" ", "_")
        settings = TrainSettings(
            **common, **fields, folder=str(folder), decay_steps=(fields["steps"] * 4 // 5,), checkpoint_every=100
        )
        started, task = time.monotonic(), build_task(settings)
        train(task, settings)
        parameters = sum(parameter.numel() for parameter in task.model.parameters())
        row = {"model": name, "parameters": parameters}
        row |= _last(folder / VALIDATION)
        rows.append(row)
        logging.info("%s: %s in %.0f s", name, row, time.monotonic() - started)

    lines = ["| | parameters | steps | error of the noise | in holes |", "|---|---|---|---|---|"]
    line = "| {model} | {parameters:,} | {step:.0f} | {held_out_noise:.4f} | {held_out_hole:.4f} |"
    sys.stdout.write("\n".join(lines + [line.format(**row) for row in rows]) + "\n")
    if options.output:
        numbers = {name: value for name, value in vars(options).items() if isinstance(value, int)}
        content = {
            "kind": "distillation",
            "machine": device_name(),
            "date": datetime.now(UTC).date().isoformat(),
            "versions": versions("torch", "diffusers", "numpy"),
            "settings": numbers,
            "rows": rows,
        }
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps(content, indent=2) + "\n")


def _last(path: Path) -> dict[str, float]:
    with path.open() as file:
        *_, row = csv.DictReader(file)
    return {name: float(value) for name, value in row.items()}


if __name__ == "__main__":
    main()
