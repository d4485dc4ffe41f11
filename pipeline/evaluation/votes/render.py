"""Renders the page with the table of an evaluation and its blind pairs."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from pipeline.evaluation.votes.pairs import DrawnPair
from pipeline.report.page import render_template

FOLDER = Path(__file__).parent


def render_votes(
    pairs: Sequence[DrawnPair], columns: Sequence[str], lines: Sequence[Sequence[str]], notes: Sequence[str]
) -> bytes:
    """Render the page as UTF-8; it needs no other file.

    Args:
        pairs: to compare, in their order.
        columns: of the table.
        lines: its cells as text.
        notes: sentences below it.
    """
    sealed = [pair.sealed for pair in pairs]
    name = _name_of(pairs)
    return render_template(
        FOLDER, True, pairs=pairs, sealed=sealed, name=name, columns=columns, lines=lines, notes=notes
    )


def _name_of(pairs: Sequence[DrawnPair]) -> str:
    """Hash the pairs with their pictures: a browser keeps votes by this name, and they hold for these pictures only."""
    digest = hashlib.sha256()
    for pair in pairs:
        digest.update("\n".join((pair.sealed, pair.left, pair.right, pair.hole, "")).encode())
    return digest.hexdigest()[:12]
