"""Renders pages: self-contained HTML files whose policy forbids external resources."""

import base64
import hashlib
import json
import time
from collections.abc import Sequence
from pathlib import Path

import jinja2
from markupsafe import Markup

from pipeline.report import formatting
from pipeline.report.charts import draw_charts
from pipeline.report.figures import Figures
from pipeline.report.pictures import GalleryItem
from pipeline.report.reviews import NO_REVIEWS, ReviewFigures

FOLDER = Path(__file__).parent
FILTERS = (
    formatting.shown,
    formatting.number,
    formatting.percent,
    formatting.seconds,
    formatting.size,
    formatting.moment,
)


def render_page(
    sink: str, figures: Figures, gallery: Sequence[GalleryItem], reviews: ReviewFigures = NO_REVIEWS
) -> bytes:
    """Render the page as UTF-8; all text from manifest and summaries is escaped.

    Args:
        sink: its uri.
        figures: of all samples.
        gallery: the samples of the gallery, in its order.
        reviews: what people said about results.
    """
    configuration = figures.runs[0].summary.get("configuration") if figures.runs else None
    return render_template(
        FOLDER,
        sink=sink,
        figures=figures,
        reviews=reviews,
        gallery=gallery,
        error_classes=sorted({(item.row["error_stage"], item.row["error_type"]) for item in gallery} - {(None, None)}),
        charts={name: Markup(svg) for name, svg in draw_charts(figures).items()},  # escaped by its maker
        configuration=json.dumps(configuration, indent=2, ensure_ascii=False) if configuration else "",
    )


def render_template(folder: Path, takes_answers: bool = False, **values: object) -> bytes:
    """Render ``page.html`` of a folder with the style of the report, and with its own style and script if it has them.

    Args:
        folder: with ``page.html``, and perhaps ``page.css`` and ``page.js``; its page includes ``head.html``, which
            needs ``title`` and ``pictures``, the sources of images that its policy allows.
        takes_answers: whether people answer in the page, with ``answers.css`` and ``answers.js``.
        values: of the template, escaped unless they are ``Markup``; ``style``, ``script``, ``script_hash`` and
            ``made_at`` are added.
    """
    shared = ["answers"] * takes_answers
    script = _joined([*(FOLDER / f"{name}.js" for name in shared), folder / "page.js"])
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([folder, FOLDER]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update({use.__name__: use for use in FILTERS})
    page = environment.get_template("page.html").render(
        **values,
        made_at=time.time(),
        style=Markup(_joined([FOLDER / "page.css", *(FOLDER / f"{name}.css" for name in shared), folder / "page.css"])),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )
    return page.encode("utf-8", "replace")


def _joined(paths: Sequence[Path]) -> str:
    """Return the contents of those files that exist."""
    return "\n".join(path.read_text(encoding="utf-8") for path in dict.fromkeys(paths) if path.is_file())
