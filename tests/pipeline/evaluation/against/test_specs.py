import os

import numpy as np
import pytest
from PIL import Image

from pipeline.errors import ConfigError, SampleError
from pipeline.evaluation.against.specs import Spec, open_others
from pipeline.evaluation.methods import Task


def darker(image, mask):
    image[mask] = image[mask] // 2
    return image


def broken(image, mask):
    raise ValueError(f"no idea of {mask.shape}")


def test_specs_name_a_kind_and_a_place_that_workers_find(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lama").mkdir()
    assert Spec.parse("lama") == Spec.parse("folder:lama") == Spec("folder", f"{tmp_path}{os.sep}lama")
    assert Spec.parse("onnx:a.onnx") == Spec("onnx", str(tmp_path / "a.onnx"))
    assert Spec.parse("diffusers:lama").place == str(tmp_path / "lama")
    assert Spec.parse("diffusers:owner/name") == Spec("diffusers", "owner/name")
    assert Spec.parse("python:a.b:fill") == Spec("python", "a.b:fill")


@pytest.mark.parametrize("text", ["nowhere", "lama:x", "onnx:", "python:"])
def test_other_texts_are_refused(text):
    with pytest.raises(ConfigError, match="--against"):
        Spec.parse(text)


def test_taken_names_are_told_apart_and_the_same_filler_twice_is_refused(tmp_path):
    for name in ("a/nano", "b/nano"):
        (tmp_path / name / "objects").mkdir(parents=True)
        Image.new("RGB", (4, 4)).save(tmp_path / name / "objects" / "x.png")
    specs = [Spec("folder", str(tmp_path / name)) for name in ("a/nano", "b/nano")]
    assert list(open_others(specs, 1.5, ["nano"])) == [f"folder:{spec.place}" for spec in specs]
    with pytest.raises(ConfigError, match="twice"):
        open_others([specs[0], specs[0], specs[0]], 1.5, [])


def test_folder_gives_the_result_of_a_photo_and_kind(tmp_path):
    (tmp_path / "objects").mkdir()
    Image.new("RGB", (5, 4), (1, 2, 3)).save(tmp_path / "objects" / "beach.png")
    (method,) = open_others([Spec("folder", str(tmp_path))], 1.5, []).values()
    blank = np.zeros((4, 5, 3), np.uint8), np.ones((4, 5), bool)
    assert method.is_from_files and (method.fill(Task("beach.jpg", "objects", *blank, 0)) == (1, 2, 3)).all()
    for photo, kind in (("beach.jpg", "text"), ("lake.jpg", "objects")):
        with pytest.raises(SampleError, match=rf"there is no {kind}/{photo[:-4]}\.png"):
            method.fill(Task(photo, kind, *blank, 0))
    Image.new("RGB", (5, 4)).save(tmp_path / "objects" / "beach.webp")
    with pytest.raises(ConfigError, match=r"two results of one photo, beach\.png and beach\.webp"):
        open_others([Spec("folder", str(tmp_path))], 1.5, [])
    with pytest.raises(ConfigError, match="found no results"):
        open_others([Spec("folder", str(tmp_path / "objects"))], 1.5, [])


def test_functions_may_write_into_what_they_get_and_what_they_raise_fails_a_photo():
    opened = open_others([Spec("python", f"{__name__}:{name}") for name in ("darker", "broken")], 1.5, [])
    works, fails = opened.values()
    image, mask = np.full((4, 5, 3), 100, np.uint8), np.eye(4, 5, dtype=bool)
    filled = works.fill(Task("a", "objects", image, mask, 0))
    assert (filled[mask] == 50).all() and (image == 100).all()
    with pytest.raises(SampleError, match=r"broken raised ValueError: no idea of \(4, 5\)"):
        fails.fill(Task("a", "objects", image, mask, 0))
    with pytest.raises(ConfigError, match=r"--against: .* has no nothing"):
        open_others([Spec("python", f"{__name__}:nothing")], 1.5, [])
