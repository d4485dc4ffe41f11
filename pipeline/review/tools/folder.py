"""``folder``: a page that works in any browser without a network, pictures, and a table of verdicts."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pipeline.errors import ConfigError
from pipeline.report.page import render_template
from pipeline.review.base import Answers, Item
from pipeline.review.draw import Draw
from pipeline.review.pictures import View, draw_detail, draw_whole, encode_mask
from pipeline.review.verdicts_csv import COLUMNS, MASK_COLUMN, NAME, encode_csv, guarded_line, read_csv

PAGE, PICTURES, MASKS, CORRECTED = "index.html", "pictures", "masks", "corrected"
_PAGE_FOLDER = Path(__file__).parent.parent


class Folder:
    """A self-contained folder; corrected masks are put into a folder of it, named as the masks are."""

    def write(self, folder: Path, draw: Draw, items: Iterable[Item], sink: str) -> str:
        """See :class:`pipeline.review.base.ReviewTool`."""
        for name in (PICTURES, MASKS, CORRECTED):
            (folder / name).mkdir()
        lines, cards = [], []
        for item in items:
            views = {"whole": draw_whole(item.pixels, item.row["orientation"])}
            views["detail"] = draw_detail(item.pixels, item.row["orientation"])
            lines.append(self._line(folder, draw, item))
            cards.append(
                {
                    "row": item.row,
                    "views": {name: _save(folder, item, name, view) for name, view in views.items() if view},
                    "note": "; ".join(item.pixels.notes),
                }
            )
        (folder / NAME).write_bytes(encode_csv(lines))
        texts = list(map(guarded_line, lines))
        page = render_template(
            _PAGE_FOLDER, True, sink=sink, draw=draw, cards=cards, lines=texts, columns=COLUMNS, file_name=NAME
        )
        (folder / PAGE).write_bytes(page)
        return f"open {folder / PAGE} in a browser, or fill in {folder / NAME}"

    def is_export(self, path: Path) -> bool:
        """See :class:`pipeline.review.base.ReviewTool`."""
        return (path / NAME).is_file() if path.is_dir() else path.suffix.lower() == ".csv"

    def read(self, path: Path) -> Answers:
        """See :class:`pipeline.review.base.ReviewTool`."""
        if not path.is_dir():
            return read_csv(path)
        answers, unused = read_csv(path / NAME), set(_pictures_in(path / CORRECTED))
        for answer in answers.found:
            mask = answer.fields.get(MASK_COLUMN, "")
            corrected = path / CORRECTED / Path(mask).name
            if mask and corrected in unused:
                answer.corrected_mask = corrected.read_bytes()
                answer.place = str(corrected)
                unused.remove(corrected)
        if unused:
            raise ConfigError(
                f"{min(unused)} is named like no mask in {path / MASKS}, so nobody knows which result it is for; "
                f"name it as the column {MASK_COLUMN} of {path / NAME} says"
            )
        return answers

    @staticmethod
    def _line(folder: Path, draw: Draw, item: Item) -> dict[str, Any]:
        line = {"sample_id": item.row["sample_id"], **draw.design(item.row)}
        if item.pixels.hole is not None:
            line[MASK_COLUMN] = f"{MASKS}/{item.name}.png"
            (folder / line[MASK_COLUMN]).write_bytes(encode_mask(item.pixels.hole))
        return line


def _save(folder: Path, item: Item, name: str, view: View) -> Mapping[str, Any]:
    """Store the pictures of a view, and return their names below the folder, and their size."""
    names = {kind: f"{PICTURES}/{item.name}-{name}-{kind}.webp" for kind in view.files}
    for kind, data in view.files.items():
        (folder / names[kind]).write_bytes(data)
    return {**names, "size": view.size}


def _pictures_in(folder: Path) -> list[Path]:
    return [path for path in folder.glob("*") if path.is_file() and not path.name.startswith(".")]
