import cv2
import numpy as np
import pytest

from pipeline.detection.suppression import suppress


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("overlap", [0.3, 0.7])
def test_kept_boxes_are_those_that_opencv_keeps(seed, overlap):
    generator = np.random.default_rng(seed)
    starts = generator.uniform(0, 100, (300, 2))
    sides = generator.uniform(10, 60, (300, 2))
    scores = (1 + generator.permutation(300).astype(np.float32)) / 300
    classes = generator.integers(0, 3, 300)
    boxes = np.concatenate([starts, sides], axis=1).round(1)
    theirs = cv2.dnn.NMSBoxesBatched(boxes.tolist(), scores.tolist(), classes.tolist(), 0.0, overlap)
    corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
    ours = suppress(corners, scores, classes, overlap)
    assert sorted(ours) == sorted(theirs) and len(ours) < 300
    assert list(scores[ours]) == sorted(scores[ours], reverse=True)


def test_no_boxes_leave_none():
    assert not len(suppress(np.empty((0, 4)), np.empty(0), np.empty(0)))


def test_equal_boxes_of_two_classes_are_both_kept_and_of_one_class_once():
    boxes = np.array([[0, 0, 9, 9]] * 3)
    assert list(suppress(boxes, np.array([0.5, 0.5, 0.6]), np.array([1, 1, 2]))) == [2, 0]
