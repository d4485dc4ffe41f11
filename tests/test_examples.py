import json
import runpy

import numpy as np
from PIL import Image

from tests.conftest import ROOT, make_photos


def test_folder_script_repaints_holes_alone(tmp_path, tiny_weights, capsys):
    photos, masks = make_photos(tmp_path, count=3)
    (masks / "001.png").rename(masks / "unused[1].png")
    runpy.run_path(str(ROOT / "examples" / "folder.py"))["main"](photos, masks, tmp_path / "out", str(tiny_weights))
    for path in (photos / "000.png", photos / "002.png"):
        before, after = (np.asarray(Image.open(file).convert("RGB")) for file in (path, tmp_path / "out" / path.name))
        hole = np.asarray(Image.open(masks / path.name)) >= 128
        assert np.array_equal(before[~hole], after[~hole]) and not np.array_equal(before, after)
    errors = capsys.readouterr().err
    assert f"no mask for {photos / '001.png'}\n" in errors and errors.endswith("2 of 2 windows\n")


def test_notebook_runs_from_top_to_bottom(monkeypatch, tiny_weights):
    notebook = json.loads((ROOT / "examples" / "inpaint.ipynb").read_text())
    monkeypatch.chdir(ROOT)
    names: dict[str, object] = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            code = "".join(cell["source"]).replace('"nano"', repr(str(tiny_weights)))
            exec(code, names)  # it is ours
    assert names["result"].shape == names["photo"].shape
