"""What each kind of outputs means, against independent computations on the same numbers."""

import cv2
import numpy as np
import pytest
import torch

from pipeline.detection.contracts.contract import Output, Question
from pipeline.detection.registry import CONTRACTS
from pipeline.errors import SampleError

SIZE = (128, 96)  # width and height
CELLS = (16 * 12) + (8 * 6) + (4 * 3)  # of strides 8, 16 and 32
CLASSES = 5
PREDICTIONS = {
    "yolo": ([(1, 4 + CLASSES, CELLS)], [(1, 3 * CELLS, 5 + CLASSES)], [(1, 300, 6)], [(1, 0, 6)]),
    "yolo-seg": ([(1, 4 + CLASSES + 8, CELLS), (1, 8, 24, 32)], [(1, 8, 24, 32), (1, 300, 6 + 8)]),
    "heatmap": ([(1, 1, 96, 128)], [(1, 24, 32)], [(1, 1, 96, 128)] * 3),
    "classmap": ([(1, 21, 96, 128)], [(1, 2, 24, 32)]),
    "boxes": ([(7, 4), (7,), "labels"], [(1, 7, 4), (1, 7), "labels"], [(0, 4), (0,), "labels"]),
}
NAMES = {"boxes": ["boxes", "scores"]}


def outputs_of(shapes, names=()):
    found = []
    for number, shape in enumerate(shapes):
        name = names[number] if number < len(names) else f"output{number}"
        if shape == "labels":
            shape, kind = found[-1].values.shape, np.int64
        else:
            kind = np.float32
        found.append(Output("labels" if kind is np.int64 else name, np.zeros(shape, kind)))
    return found


def matching(outputs):
    return [name for name in CONTRACTS if CONTRACTS.load(name)().matches(outputs, SIZE)]


CASES = [(name, shapes) for name, layouts in PREDICTIONS.items() for shapes in layouts]


@pytest.mark.parametrize(("name", "shapes"), CASES, ids=[f"{name}-{number}" for number, (name, _) in enumerate(CASES)])
def test_outputs_of_one_kind_fit_no_other(name, shapes):
    assert matching(outputs_of(shapes, NAMES.get(name, ()))) == [name]
    assert CONTRACTS.load(name)().decode(outputs_of(shapes), Question(SIZE, 0.5, (1,))) is not None


def test_outputs_of_queries_fit_by_the_names_of_rf_detr_only():
    shapes = [(1, 30, 4), (1, 30, 7)]
    assert matching(outputs_of(shapes, ["pred_boxes", "logits"])) == []
    assert matching(outputs_of(shapes, ["dets", "labels"])) == ["rtdetr"]


def predictions(seed, count=CELLS, classes=CLASSES):
    """Boxes as centre and size, and scores (N, classes), of which some are high and overlap."""
    generator = np.random.default_rng(seed)
    centres = generator.uniform(20, 76, (count, 2)).round(1)
    sides = generator.uniform(8, 60, (count, 2)).round(1)
    scores = generator.permutation(count * classes).reshape(count, classes) / (count * classes)
    return np.concatenate([centres, sides], axis=1).astype(np.float32), scores.astype(np.float32)


def kept_by_opencv(boxes, scores, least):
    """The indices that OpenCV keeps, each class on its own."""
    classes = scores.argmax(axis=1)
    lefts = np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, 2:]], axis=1)
    kept = cv2.dnn.NMSBoxesBatched(lefts.tolist(), scores.max(axis=1).tolist(), classes.tolist(), least, 0.7)
    return sorted(kept), classes


def corners_of(boxes):
    return np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], axis=1)


def in_order(rows):
    return rows[np.lexsort(rows.T)]


@pytest.mark.parametrize("layout", ["v8", "v5"])
@pytest.mark.parametrize("seed", [0, 1])
def test_yolo_keeps_what_opencv_keeps(layout, seed):
    boxes, scores = predictions(seed, CELLS if layout == "v8" else 3 * CELLS)
    if layout == "v8":
        values = np.concatenate([boxes, scores], axis=1).T
    else:
        presence = np.linspace(0.9, 1, len(boxes), dtype=np.float32)[:, None]
        values = np.concatenate([boxes, presence, scores], axis=1)
        scores = scores * presence
    kept, classes = kept_by_opencv(boxes, scores, 0.8)
    found = CONTRACTS.load("yolo")().decode([Output("output0", values[None])], Question(SIZE, 0.8))
    assert 5 < len(kept) < (scores.max(axis=1) >= 0.8).sum()
    assert np.allclose(in_order(found.boxes), in_order(corners_of(boxes[kept])), atol=1e-4)
    assert sorted(found.classes) == sorted(classes[kept])
    few = CONTRACTS.load("yolo")().decode([Output("output0", values[None])], Question(SIZE, 0.8, (2, 4)))
    assert sorted(few.scores) == sorted(found.scores[np.isin(found.classes, (2, 4))])


def test_yolo_with_suppression_inside_is_taken_as_it_is():
    rows = np.array([[10, 10, 50, 50, 0.9, 1], [11, 10, 50, 50, 0.8, 1], [0, 0, 9, 9, 0.1, 0]], np.float32)
    found = CONTRACTS.load("yolo")().decode([Output("output0", rows[None])], Question(SIZE, 0.5))
    assert np.array_equal(found.boxes, rows[:2, :4]) and list(found.classes) == [1, 1]


def test_yolo_with_shares_as_boxes_is_refused():
    values = np.full((1, 4 + CLASSES, CELLS), 0.5, np.float32)
    with pytest.raises(ValueError, match=r"mask\.output=rtdetr"):
        CONTRACTS.load("yolo")().decode([Output("output0", values)], Question(SIZE, 0.4))


def test_yolo_that_was_exported_without_decoding_is_refused():
    """Its boxes are offsets within cells and logarithms of sizes, as of YOLOX by default."""
    values = np.random.default_rng(0).normal(0, 1.5, (1, CELLS, 5 + CLASSES)).astype(np.float32)
    with pytest.raises(ValueError, match="export the model with decoding"):
        CONTRACTS.load("yolo")().decode([Output("output0", values)], Question(SIZE, 0.4))


def test_masks_of_yolo_are_the_sum_of_prototypes_inside_each_box():
    boxes, scores = predictions(3)
    generator = np.random.default_rng(3)
    weights = generator.normal(size=(CELLS, 8)).astype(np.float32)
    prototypes = generator.normal(size=(1, 8, 24, 32)).astype(np.float32)
    values = np.concatenate([boxes, scores, weights], axis=1).T[None]
    found = CONTRACTS.load("yolo-seg")().decode(
        [Output("output0", values), Output("output1", prototypes)], Question(SIZE, 0.8)
    )
    kept, _ = kept_by_opencv(boxes, scores, 0.8)
    expected = np.zeros((24, 32), bool)
    for index in kept:
        inside = np.zeros((24, 32), bool)
        left, top, right, bottom = corners_of(boxes[[index]])[0] / 4  # prototypes are a quarter of the input
        inside[int(max(0, np.floor(top))) : int(np.ceil(bottom)), int(max(0, np.floor(left))) : int(np.ceil(right))] = 1
        expected |= inside & (np.einsum("k,khw->hw", weights[index], prototypes[0]) > 0)
    assert np.array_equal(found.chances > 0.5, expected) and len(found.boxes) == len(kept)


@pytest.mark.parametrize("kind", ["detr", "rtdetr"])
def test_queries_are_decoded_as_pytorch_does(kind):
    generator = np.random.default_rng(4)
    logits = generator.normal(0, 3, (1, 40, CLASSES + 1)).astype(np.float32)
    boxes = generator.uniform(0.2, 0.6, (1, 40, 4)).astype(np.float32)
    outputs = [Output("logits", logits), Output("pred_boxes", boxes)]
    found = CONTRACTS.load(kind)().decode(outputs, Question(SIZE, 0.7))
    values = torch.from_numpy(logits)
    chances = values.softmax(-1)[..., :-1] if kind == "detr" else values.sigmoid()
    scores, classes = chances.max(-1)
    sure = scores[0] >= 0.7
    centre, side = torch.from_numpy(boxes)[0].split(2, dim=1)
    corners = torch.cat([centre - side / 2, centre + side / 2], dim=1) * torch.tensor([*SIZE, *SIZE])
    assert 3 < sure.sum() < 40
    assert np.allclose(found.boxes, corners[sure], atol=1e-3)
    assert np.allclose(found.scores, scores[0][sure], atol=1e-5)
    assert found.classes.tolist() == classes[0][sure].tolist()


def test_queries_with_chances_and_boxes_in_one_output_are_taken():
    """As ultralytics exports RT-DETR."""
    rows = np.array([[[0.5, 0.5, 0.2, 0.4, 0.1, 0.9], [0.1, 0.1, 0.1, 0.1, 0.3, 0.2]]], np.float32)
    found = CONTRACTS.load("rtdetr")().decode([Output("output0", rows)], Question((100, 100), 0.5))
    assert np.allclose(found.boxes, [[40, 30, 60, 70]], atol=1e-3) and found.classes.tolist() == [1]


def test_masks_of_queries_are_those_of_the_chosen_ones():
    """As RF-DETR's for segmentation."""
    masks = np.full((1, 2, 12, 16), -5, np.float32)
    masks[0, 0, :3], masks[0, 1, 3:] = 5, 5
    outputs = [
        Output("dets", np.full((1, 2, 4), 0.5, np.float32)),
        Output("labels", np.array([[[4, -4, -4, -4], [-4, -4, -4, -4]]], np.float32)),
        Output("masks", masks),
    ]
    assert matching(outputs) == ["rtdetr"]
    found = CONTRACTS.load("rtdetr")().decode(outputs, Question(SIZE, 0.5))
    assert np.array_equal(found.chances > 0.5, masks[0, 0] > 0) and len(found.boxes) == 1


def test_finished_boxes_are_told_apart_by_type_where_names_say_nothing():
    outputs = [
        Output("1", np.array([3, 4])),
        Output("2", np.array([0.9, 0.2], np.float32)),
        Output("3", np.array([[1, 2, 30, 40], [5, 6, 70, 80]], np.float32)),
    ]
    found = CONTRACTS.load("boxes")().decode(outputs, Question(SIZE, 0.5))
    assert found.boxes.tolist() == [[1, 2, 30, 40]] and found.classes.tolist() == [3]


def test_masks_of_finished_boxes_are_those_of_the_chosen_ones():
    """As of Mask R-CNN."""
    masks = np.zeros((2, 1, 96, 128), np.float32)
    masks[0, 0, :9], masks[1, 0, 50:] = 0.9, 0.9
    outputs = outputs_of([(2, 4), (2,), "labels"], ["boxes", "scores"])
    outputs[0].values[:], outputs[1].values[:] = [1, 2, 30, 40], [0.8, 0.1]
    found = CONTRACTS.load("boxes")().decode([*outputs, Output("masks", masks)], Question(SIZE, 0.5))
    assert np.array_equal(found.chances > 0.5, masks[0, 0] > 0.5)


def test_heatmap_of_logits_is_that_of_their_chances():
    logits = np.random.default_rng(5).normal(0, 4, (1, 1, 12, 16)).astype(np.float32)
    chances = torch.from_numpy(logits).sigmoid().numpy()
    for values in (logits, chances):
        found = CONTRACTS.load("heatmap")().decode([Output("out", values)], Question(SIZE, 0.7))
        assert np.allclose(found.chances, chances[0, 0], atol=1e-5) and found.least == 0.7


def test_class_map_adds_the_chances_of_the_chosen_classes():
    logits = np.random.default_rng(6).normal(0, 3, (1, 7, 12, 16)).astype(np.float32)
    chances = torch.from_numpy(logits).softmax(1).numpy()
    ids = chances.argmax(axis=1)
    expected = chances[0, [2, 5]].sum(axis=0)
    for values in (logits, chances):
        found = CONTRACTS.load("classmap")().decode([Output("out", values)], Question(SIZE, 0.5, (2, 5)))
        assert np.allclose(found.chances, expected, atol=1e-5)
    found = CONTRACTS.load("classmap")().decode([Output("out", ids)], Question(SIZE, 0.5, (2, 5)))
    assert np.array_equal(found.chances > 0.5, np.isin(ids[0], (2, 5)))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["yolo", "rtdetr", "heatmap", "classmap", "boxes"])
def test_outputs_that_are_no_numbers_fail_the_sample(name, bad):
    shapes = {"rtdetr": [(1, 30, 4), (1, 30, 7)], **{key: layouts[0] for key, layouts in PREDICTIONS.items()}}[name]
    outputs = outputs_of(shapes, ["boxes", "scores"] if name == "boxes" else [])
    outputs[min(1, len(outputs) - 1)].values[..., -1] = bad
    with np.errstate(invalid="ignore"), pytest.raises(SampleError, match="NaN or infinite") as caught:
        CONTRACTS.load(name)().decode(outputs, Question(SIZE, 0.5, (1,)))
    assert caught.value.kind == "BadDetection"


def test_far_too_many_boxes_fail_the_sample():
    outputs = outputs_of([(100_000, 4), (100_000,), "labels"], ["boxes", "scores"])
    outputs[1].values[:] = 0.9
    with pytest.raises(SampleError, match=r"finds 100000 boxes, more than 5000: raise mask\.score") as caught:
        CONTRACTS.load("boxes")().decode(outputs, Question(SIZE, 0.5))
    assert caught.value.kind == "TooManyObjects"
