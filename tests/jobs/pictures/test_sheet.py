import numpy as np
import pytest
from PIL import Image, ImageFont

from jobs.pictures import sheet as sheets
from jobs.pictures.sheet import CELL_PX, HOLE_COLOUR, MAX_SIDE_PX, _lines, save_sheet, strip, with_hole
from pipeline.errors import ConfigError


def test_label_is_read_to_its_end_also_above_narrow_pictures():
    label = "narrow.png  would fail: " + "the reason in many words, " * 20
    narrow = np.zeros((300, 4, 3), np.uint8)
    short, long = (strip([narrow, narrow], text) for text in ("narrow.png", label))
    assert short.width == long.width >= CELL_PX and long.height > short.height
    lines = _lines(label, 300)
    assert " ".join(lines) == label.strip()
    assert all(sheets._font().getlength(line) <= 300 for line in lines)


@pytest.fixture
def fonts(monkeypatch):
    """Change the fonts that are looked for."""

    def set_fonts(*names: str) -> None:
        monkeypatch.setattr(sheets, "FONTS", names)
        sheets._font.cache_clear()
        sheets._is_drawn.cache_clear()

    yield set_fonts
    monkeypatch.undo()
    set_fonts(*sheets.FONTS)


def test_names_stay_on_their_line_and_can_be_told_apart(fonts):
    fonts()
    assert _lines("two\nlines \u202e 日本 é.png", 1000) == [r"two\nlines \u202e \u65e5\u672c \xe9.png"]
    assert _lines(r"no\u202e", 1000) == [r"no\\u202e"]  # other than the mark itself


def test_letters_that_a_font_of_the_machine_has_are_drawn(fonts):
    font = "DejaVuSans.ttf"
    try:
        ImageFont.truetype(font, 10)
    except OSError:
        pytest.skip("no DejaVu fonts on this machine")
    fonts("no-such-font.ttf", font)
    assert _lines("café Ωж – \u202e\U0010fffe.png", 1000) == [r"café Ωж – \u202e\U0010fffe.png"]
    pictures = [np.zeros((30, 30, 3), np.uint8)] * 2
    drawn, other = (np.asarray(strip(pictures, name)) for name in ("é.png", "è.png"))
    assert not np.array_equal(drawn, other)


def test_small_hole_of_a_large_photo_is_seen():
    photo, mask = np.zeros((3000, 4500, 3), np.uint8), np.zeros((3000, 4500), bool)
    mask[1501:1504, 2001:2004] = True
    hole = with_hole(photo, mask)
    assert hole.shape == (240, 360, 3) and (hole == HOLE_COLOUR).all(axis=2).any()


def test_sheet_has_every_strip_and_says_when_it_has_no_room(tmp_path):
    strips = [Image.new("RGB", (100, height), colour) for height, colour in ((50, "red"), (10, "lime"), (20, "blue"))]
    save_sheet(strips, 2, tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (2 * 106, 56 + 26)
        assert [sheet.getpixel(place) for place in ((0, 0), (106, 0), (0, 56))] == [
            (255, 0, 0),
            (0, 255, 0),
            (0, 0, 255),
        ]
    with pytest.raises(ConfigError, match="too large: choose fewer samples"):
        save_sheet([Image.new("RGB", (1, MAX_SIDE_PX))], 1, tmp_path / "sheet.jpg")
