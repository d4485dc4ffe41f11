import json

import numpy as np
from PIL import Image

from jobs import preview as command
from jobs.pictures.sheet import HOLE_COLOUR, NOTHING, strip
from jobs.preview import main
from tests.conftest import ROOT, make_photos


def preview(folder, *overrides: str) -> np.ndarray:
    picture = folder / "preview.png"
    sink = f"sink.uri={folder / 'out'}"
    arguments = [str(ROOT / "conf" / "inpaint.yaml"), str(picture), f"source.uri={folder / 'photos'}", sink, *overrides]
    assert main([*arguments, "--count", "2", "--columns", "1"]) == 0
    return np.asarray(Image.open(picture))


def red(sheet: np.ndarray) -> int:
    return int((sheet == HOLE_COLOUR).all(axis=2).sum())


def test_preview_draws_masks_of_files_and_of_annotations_alike(tmp_path):
    make_photos(tmp_path, count=4)
    paired = preview(tmp_path, f"mask.uri={tmp_path / 'masks'}")
    boxes = tmp_path / "boxes.jsonl"
    boxes.write_text(
        "".join(json.dumps({"sample_id": f"{i:03}.png", "boxes": [[30, 20, 60, 40]]}) + "\n" for i in range(4))
    )
    assert red(paired) == 2 * 20 * 30
    assert np.array_equal(preview(tmp_path, "mask.kind=boxes", f"mask.uri={boxes}"), paired)
    assert not (tmp_path / "out").exists()


def test_preview_draws_what_would_fail_with_its_reason(tmp_path):
    make_photos(tmp_path, count=2)
    (tmp_path / "photos" / "000.png").write_bytes(b"no image")
    (tmp_path / "masks" / "001.png").unlink()
    assert red(preview(tmp_path, f"mask.uri={tmp_path / 'masks'}")) == 0


def test_smallest_hole_is_some_share_of_its_photo_and_a_failure_has_no_mask(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(command, "strip", lambda photos, label: drawn.append((photos, label)) or strip(photos, label))
    make_photos(tmp_path, count=2)
    Image.fromarray(np.zeros((800, 900), np.uint8)).save(tmp_path / "photos" / "000.png")
    mask = np.zeros((800, 900), np.uint8)
    mask[0, 0] = 255
    Image.fromarray(mask).save(tmp_path / "masks" / "000.png")
    (tmp_path / "masks" / "001.png").unlink()
    preview(tmp_path, f"mask.uri={tmp_path / 'masks'}")
    labels = sorted(label for _, label in drawn)
    assert labels[0] == "000.png  0.000139 % of 900x800" and "would fail: MissingMask" in labels[1]
    assert [photos[1] is NOTHING for photos, label in drawn if "would fail" in label] == [True]


def test_preview_asks_about_masks_that_fit_a_turned_photo_either_way(tmp_path, monkeypatch):
    labels = []
    monkeypatch.setattr(command, "strip", lambda photos, label: labels.append(label) or strip(photos, label))
    make_photos(tmp_path, count=2)
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.open(tmp_path / "photos" / "000.png").save(tmp_path / "photos" / "000.png", exif=exif)
    for upright in ("false", "true"):
        preview(tmp_path, f"mask.uri={tmp_path / 'masks'}", f"mask.upright={upright}")
    asked = [label for label in labels if "EXIF orientation 3: drawn upright?" in label]
    assert len(labels) == 4 and len(asked) == 1 and asked[0].startswith("000.png")
