"""Whole detectors, with small models that compute what they find."""

import hashlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import pytest

from pipeline.detection import models
from pipeline.errors import ConfigError, SampleError
from tests.conftest import textured
from tests.pipeline.detection.onnx_models import RED, fixed, red_box, red_heatmap
from tests.pipeline.detection.settings import opened

SHAPE = (200, 320)
PLACES = [(slice(30, 90), slice(40, 120)), (slice(0, 25), slice(300, 320))]


def with_red(*places, shape=SHAPE):
    """A photo with red rectangles, and where they are."""
    rgb, mask = textured(*shape) // 3, np.zeros(shape, bool)
    for place in places:
        rgb[place], mask[place] = RED, True
    return rgb, mask


def overlap(one, other):
    return (one & other).sum() / (one | other).sum()


@pytest.mark.parametrize("fit", ["letterbox", "stretch"])
@pytest.mark.parametrize("shape", [(1, 3, 160, 96), (1, 160, 96, 3)])
def test_heatmap_is_found_where_it_is_in_the_photo(tmp_path, fit, shape):
    rgb, mask = with_red(*PLACES)
    if shape[-1] == 3:
        path = transposed(red_heatmap(tmp_path / "red.onnx", shape=(1, 3, 160, 96)), shape)
    else:
        path = red_heatmap(tmp_path / "red.onnx", shape=shape)
    found = opened(path, input={"fit": fit}).find(rgb)
    assert overlap(found.pixels, mask) > 0.75  # the input has a fourth of the photo's columns
    assert found.objects == 2 and found.score == pytest.approx(1, abs=0.02)


def transposed(path, shape):
    """Let a model take its photo with the colours last."""
    model = onnx.load(str(path))
    model.graph.node.insert(0, onnx.helper.make_node("Transpose", ["last"], ["photo"], perm=[0, 3, 1, 2]))
    model.graph.input[0].CopyFrom(onnx.helper.make_tensor_value_info("last", onnx.TensorProto.FLOAT, shape))
    onnx.save(model, str(path))
    return path


@pytest.mark.parametrize("fit", ["letterbox", "stretch"])
def test_box_is_found_where_it_is_in_the_photo(tmp_path, fit):
    rgb, mask = with_red(PLACES[0])
    found = opened(red_box(tmp_path / "red.onnx", shape=(1, 3, 256, 160)), input={"fit": fit}).find(rgb)
    assert overlap(found.pixels, mask) > 0.9 and found.objects == 1
    assert not opened(tmp_path / "red.onnx").find(with_red()[0]).pixels.any()


def test_small_object_in_a_large_photo_is_found_in_tiles_only(tmp_path):
    """Also where tiles overlap, where it counts once."""
    rgb, mask = with_red((slice(410, 418), slice(505, 513)), shape=(900, 1100))
    path = red_box(tmp_path / "red.onnx", shape=(1, 3, 64, 64))
    assert not opened(path).find(rgb).objects
    found = opened(path, tile_px=256).find(rgb)
    assert found.objects == 1 and overlap(found.pixels, mask) > 0.4
    found = opened(red_heatmap(tmp_path / "heat.onnx"), tile_px=256).find(rgb)
    assert found.objects == 1 and overlap(found.pixels, mask) > 0.4


def test_several_models_find_what_any_of_them_finds(tmp_path):
    rgb, _ = with_red(PLACES[0])
    other = fixed(tmp_path / "other.onnx", {"output0": np.array([[[0, 0, 32, 64, 0.7, 0]]], np.float32)})
    found = opened(red_box(tmp_path / "red.onnx"), other, input={"fit": "stretch"}).find(rgb)
    assert found.pixels[:, :160].all() and not found.pixels[100:, 161:].any()
    assert found.objects == 2 and found.score > 0.95


def test_model_that_takes_bytes_gets_the_photo_as_it_is(tmp_path):
    """And orders of colours, means and deviations are those that are configured."""
    rgb = np.zeros((64, 64, 3), np.uint8)
    rgb[:, :32] = 200, 100, 50
    path = tmp_path / "bytes.onnx"
    echo(path, np.uint8, channel=0)
    assert opened(path, score=0.78).find(rgb).pixels[:, :32].all()  # 200 / 255
    assert not opened(path, score=0.79).find(rgb).pixels.any()
    assert not opened(path, score=0.3, input={"order": "bgr"}).find(rgb).pixels.any()  # 50 / 255
    echo(path := tmp_path / "floats.onnx", np.float32, channel=1, divisor=1)
    scaled = {"mean": 0, "std": 0.5}  # 100 / 255 becomes 0.784
    assert opened(path, score=0.78, input=scaled).find(rgb).pixels[:, :32].all()
    assert not opened(path, score=0.79, input=scaled).find(rgb).pixels.any()


def echo(path, dtype, channel, divisor=255):
    """Write a model whose heatmap is one channel of what it gets, ÷ a number."""
    from onnx import TensorProto, helper

    from tests.pipeline.detection.onnx_models import save_model

    nodes = [
        helper.make_node("Gather", ["photo", "channel"], ["one"], axis=1),
        helper.make_node("Cast", ["one"], ["number"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["number", "divisor"], ["heat"]),
    ]
    constants = {"channel": np.array([channel]), "divisor": np.float32(divisor)}
    return save_model(path, nodes, {"heat": (TensorProto.FLOAT, None)}, constants, dtype=dtype)


def test_threads_at_once_find_the_same(tmp_path):
    detector = opened(red_heatmap(tmp_path / "red.onnx"))
    photos = [with_red((slice(number, number + 40), slice(50, 90)))[0] for number in range(8)]
    alone = [detector.find(rgb).pixels for rgb in photos]
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(lambda rgb: detector.find(rgb).pixels, photos * 4))
    assert all(np.array_equal(one, other) for one, other in zip(alone * 4, together, strict=True))


def test_threads_that_open_the_same_model_load_it_once(tmp_path, monkeypatch):
    loaded = []
    monkeypatch.setattr(models, "Session", lambda *given: loaded.append(given) or real(*given))
    path = red_heatmap(tmp_path / "red.onnx", metadata={"unique": str(tmp_path)})
    with ThreadPoolExecutor(8) as threads:
        detectors = list(threads.map(lambda _: opened(path), range(8)))
    assert len(loaded) == 1 and all(detector is detectors[0] for detector in detectors)


real = models.Session
NAMES = {"names": "{0: 'cat', 1: 'logo'}"}
ROWS = {"output0": np.array([[[0, 0, 20, 64, 0.9, 0], [40, 0, 64, 64, 0.8, 1]]], np.float32)}


@pytest.mark.parametrize(
    ("classes", "columns"), [([], [5, 55]), (["logo"], [55]), ([1], [55]), (["cat", 1], [5, 55]), ([0], [5])]
)
def test_classes_are_chosen_by_name_and_by_id(tmp_path, classes, columns):
    found = opened(fixed(tmp_path / "a.onnx", ROWS, metadata=NAMES), classes=classes).find(
        np.zeros((64, 64, 3), np.uint8)
    )
    assert sorted(column for column in (5, 30, 55) if found.pixels[9, column]) == columns
    assert found.objects == len(columns)


@pytest.mark.parametrize("names", [NAMES["names"], "['cat', 'logo']"])
def test_unknown_class_is_refused_with_the_known_ones(tmp_path, names):
    with pytest.raises(ConfigError, match="has no class 'dog': it has cat, logo"):
        opened(fixed(tmp_path / "a.onnx", ROWS, metadata={"names": names}), classes=["dog"])


def test_name_of_a_class_without_names_in_the_file_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="has no class 'dog': it has ids only"):
        opened(fixed(tmp_path / "a.onnx", ROWS), classes=["dog"])


QUERIES = {"logits": np.zeros((1, 30, 7), np.float32), "pred_boxes": np.full((1, 30, 4), 0.5, np.float32)}
CLASS_MAP = {"out": np.zeros((1, 21, 64, 64), np.float32)}


@pytest.mark.parametrize(
    ("outputs", "keys", "message"),
    [
        (QUERIES, {}, r"outputs logits 1×30×7 float32, pred_boxes .* mask\.output=detr if .* mask\.output=rtdetr if"),
        ({"out": np.zeros((1, 5), np.float32)}, {}, r"out 1×5 float32, which do not tell .* boxes, detr, rtdetr, yolo"),
        (ROWS, {"output": "heatmap"}, r"does not have outputs for mask\.output=heatmap: a map of 2×6 .* output0 1×2×6"),
        (CLASS_MAP, {}, r"set mask\.classes to those to fill"),
        (CLASS_MAP, {"classes": [21]}, "has no class 21"),
        (CLASS_MAP, {"classes": [-1]}, "has no class -1"),
        ({"a": np.zeros((1, 1, 64, 64), np.float32)}, {"classes": [1]}, r"no classes, so mask\.classes must be empty"),
        ({"a": np.full((1, 1, 64, 64), np.nan, np.float32)}, {}, "fails on a grey picture: .* NaN"),
    ],
    ids=["queries", "vector", "other", "no classes", "too high", "negative", "without classes", "NaN"],
)
def test_outputs_that_do_not_fit_are_refused_with_what_to_set(tmp_path, outputs, keys, message):
    with pytest.raises(ConfigError, match=message):
        opened(fixed(tmp_path / "a.onnx", outputs), **keys)


def test_outputs_that_need_it_are_read_as_configured(tmp_path):
    rgb = np.zeros((64, 64, 3), np.uint8)
    logits = np.full((1, 30, 7), -9, np.float32)
    logits[0, 3, 6] = 9
    path = fixed(tmp_path / "a.onnx", {**QUERIES, "logits": logits})
    assert opened(path, output="rtdetr").find(rgb).objects == 1
    assert opened(path, output="detr").find(rgb).objects == 0  # the last class is no object


@pytest.mark.parametrize("task", ["pose", "obb", "classify"])
def test_model_for_another_task_is_refused(tmp_path, task):
    with pytest.raises(ConfigError, match=f"made for the task {task}"):
        opened(fixed(tmp_path / "a.onnx", ROWS, metadata={"task": task}))


def test_model_with_more_outputs_than_named_classes_is_refused(tmp_path):
    values = np.zeros((1, 4 + 51, 84), np.float32)  # strides 8, 16, 32 of 64
    with pytest.raises(ConfigError, match="names 2 classes, but its outputs hold 51"):
        opened(fixed(tmp_path / "a.onnx", {"output0": values}, metadata=NAMES))


def test_model_that_also_takes_the_size_gets_that_of_its_input(tmp_path):
    """So that its boxes are pixels of the input."""
    from onnx import TensorProto, helper

    from tests.pipeline.detection.onnx_models import save_model

    nodes = [
        helper.make_node("Concat", ["zeros", "orig_target_sizes"], ["corner"], axis=1),
        helper.make_node("Cast", ["corner"], ["row"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["row", "axis"], ["boxes"]),
        helper.make_node("Identity", ["sure"], ["scores"]),
        helper.make_node("Identity", ["id"], ["labels"]),
    ]
    constants = {
        "zeros": np.zeros((1, 2), np.int64),
        "axis": np.array([0]),
        "sure": np.array([[0.9]], np.float32),
        "id": np.array([[2]]),
    }
    kinds = {
        "labels": (TensorProto.INT64, None),
        "boxes": (TensorProto.FLOAT, None),
        "scores": (TensorProto.FLOAT, None),
    }
    path = save_model(tmp_path / "a.onnx", nodes, kinds, constants, shape=(1, 3, 48, 80), sizes=True)
    found = opened(path, classes=[2]).find(np.zeros((100, 300, 3), np.uint8))
    assert found.pixels.all() and found.objects == 1


@pytest.mark.parametrize("shape", [(1, 1), (1, 900), (900, 2), (33, 31)])
@pytest.mark.parametrize("tile_px", [0, 64])
def test_photo_of_any_shape_is_taken(tmp_path, shape, tile_px):
    rgb = np.full((*shape, 3), RED, np.uint8)
    paths = red_heatmap(tmp_path / "heat.onnx"), red_box(tmp_path / "box.onnx")
    for path in paths:
        found = opened(path, tile_px=tile_px).find(rgb)
        assert found.pixels.shape == shape and found.pixels.all()


def test_more_objects_than_anyone_wants_fail_the_sample(tmp_path, monkeypatch):
    monkeypatch.setattr(models, "MAX_OBJECTS", 1)
    detector = opened(fixed(tmp_path / "a.onnx", ROWS))
    with pytest.raises(SampleError, match=r"finds 2 objects: raise mask\.score"):
        detector.find(np.zeros((64, 64, 3), np.uint8))


def test_settings_that_change_what_is_found_open_another_detector(tmp_path):
    path = fixed(tmp_path / "a.onnx", ROWS)
    assert opened(path, score=0.85).find(np.zeros((64, 64, 3), np.uint8)).objects == 1
    assert opened(path).find(np.zeros((64, 64, 3), np.uint8)).objects == 2
    assert opened(path, dilate_px=3) is opened(path)
    assert hashlib.sha256(path.read_bytes()).hexdigest() in str(vars(opened(path)._models[0])["settings"])
