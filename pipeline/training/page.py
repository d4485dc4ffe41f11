"""The page of a training run: losses, their weights, held-out figures, samples; one file without scripts."""

import base64
import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import pygal
import yaml
from markupsafe import Markup
from PIL import Image

from moebius.checkpoint import written_whole
from moebius.train.loop import LOG, VALIDATION
from pipeline.report.charts import as_svg, new_chart
from pipeline.report.page import render_template
from pipeline.training.config import TrainingConfig
from pipeline.uris import public_uri

PAGE = "training.html"
FOLDER = Path(__file__).parent
MAX_POINTS = 300  # of a line; more are averaged
GRID_PX = 1800  # width of the samples
STEP_COLUMNS = ("grad_norm", "steps_per_s")
SECRET_KEYS = ("storage",)
DENOISER_ROWS = "Rows: photo, photo with its hole, filled from pure noise, pasted."
AUTOENCODER_ROWS = "Rows: photo, decoded."

Rows = Sequence[Mapping[str, float]]


def write_page(folder: Path, title: str, config: TrainingConfig, made_at: datetime) -> None:
    """Write ``training.html`` from what a run has written into its folder.

    Args:
        folder: the run's local folder.
        title: of the page: where the run is.
        config: how it was started.
        made_at: time to state.
    """
    losses, held_out = read_rows(folder / LOG), read_rows(folder / VALIDATION)
    page = render_template(
        FOLDER,
        place=title,
        as_of=f"{made_at:%Y-%m-%d %H:%M %Z}",
        tiles=_tiles(losses, held_out, config.steps),
        grid=_grid(folder / "grid.png"),
        rows=AUTOENCODER_ROWS if config.mode == "vae" else DENOISER_ROWS,
        sections=_sections(losses, held_out),
        settings=yaml.safe_dump(_public(config), sort_keys=False, allow_unicode=True),
    )
    with written_whole(folder / PAGE) as partial:
        partial.write_bytes(page)


def read_rows(path: Path) -> list[dict[str, float]]:
    """Read a log; values that are missing or not finite are left out."""
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        rows = [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]
    return [{name: value for name, value in row.items() if math.isfinite(value)} for row in rows]


def line_of(rows: Rows, name: str) -> list[tuple[float, float]]:
    """Return step and value of a column, averaged to at most ``MAX_POINTS`` points."""
    points = [(row["step"], row[name]) for row in rows if name in row]
    size = -(-len(points) // MAX_POINTS) or 1
    groups = [points[start : start + size] for start in range(0, len(points), size)]
    return [(group[-1][0], sum(value for _, value in group) / len(group)) for group in groups]


def _sections(losses: Rows, held_out: Rows) -> list[tuple[str, str, list[tuple[str, Markup]]]]:
    names = list(dict.fromkeys(name for row in losses for name in row if name not in ("step", *STEP_COLUMNS)))
    weights = [name for name in names if name.endswith("_weight")]
    terms = [name for name in names if name not in weights]
    figures = list(dict.fromkeys(name for row in held_out for name in row if name != "step"))
    wanted = [
        ("Held out", "Of the averaged weights, on photos that training never sees.", held_out, figures),
        ("Losses", "Means of as many steps as fit into a point.", losses, terms),
        ("Weights of losses", "They balance the gradients of the losses.", losses, weights),
        (
            "Steps",
            "Norm of the gradient before clipping; steps per second.",
            losses,
            STEP_COLUMNS if losses else (),
        ),
    ]
    found = [(title, note, [(name, _chart(rows, name)) for name in some]) for title, note, rows, some in wanted]
    return [section for section in found if section[2]]


def _chart(rows: Rows, name: str) -> Markup:
    chart = new_chart(pygal.XY, x_value_formatter=_whole, value_formatter=_number, show_dots=len(rows) < 3)
    chart.add(name, line_of(rows, name))
    return Markup(as_svg(chart, f"{name} by step"))


def _tiles(losses: Rows, held_out: Rows, steps: int) -> list[tuple[str, str]]:
    if not losses:
        return []
    last = losses[-1]
    tiles = [(f"{last['step']:,.0f}", f"of {steps:,} steps"), (_number(last.get("total", math.nan)), "last loss")]
    if speed := last.get("steps_per_s"):
        tiles.append((_number(speed), "steps per second"))
        tiles.append((_number((steps - last["step"]) / speed / 3600), "hours left at that speed"))
    if held_out:
        tiles += [(_number(value), name.replace("_", " ")) for name, value in held_out[-1].items() if name != "step"]
    return tiles


def _grid(path: Path) -> str:
    """Return the samples as a data URI; empty without them."""
    if not path.is_file():
        return ""
    with Image.open(path) as file:
        image = file.convert("RGB")
    image.thumbnail((GRID_PX, 4 * GRID_PX))
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=85)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _public(config: TrainingConfig) -> dict[str, Any]:
    """Return the settings without secrets."""
    public = {key: value for key, value in asdict(config).items() if value not in (None, "")}
    public |= {key: dict.fromkeys(public.get(key, {}), "***") for key in SECRET_KEYS}
    return {key: _plain(value) for key, value in public.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return public_uri(value) if isinstance(value, str) else value


def _whole(value: float) -> str:
    return f"{value:,.0f}"


def _number(value: float) -> str:
    return f"{value:,.3g}" if abs(value) < 1000 else f"{value:,.0f}"
