import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageDraw
from pycocotools import mask as reference

from pipeline.codecs.photo import Photo
from pipeline.config.job import MaskConfig
from pipeline.errors import ConfigError, SampleError
from pipeline.masks.base import open_kind
from pipeline.masks.coco_file import read_coco
from pipeline.masks.decode import draw_mask
from pipeline.masks.kinds.boxes import read_boxes
from pipeline.storage.storage import Storage

BOXES, COCO = MaskConfig(kind="boxes"), MaskConfig(kind="coco")


def draw(spec: str, shape: tuple[int, int], config: MaskConfig, orientation: int = 1) -> np.ndarray:
    return open_kind(config).draw_spec(spec, shape, orientation)[0]


def boxes(*found: object, shape=(20, 30), **options) -> np.ndarray:
    return draw(json.dumps([{"boxes": found}]), shape, MaskConfig(kind="boxes", **options))


def segments(*found: object, shape=(20, 30)) -> np.ndarray:
    return draw(json.dumps([{"height": shape[0], "width": shape[1], "segments": found}]), shape, COCO)


def blob(seed: int, shape=(20, 30)) -> np.ndarray:
    canvas = Image.new("1", shape[::-1])
    ImageDraw.Draw(canvas).ellipse(tuple(np.random.default_rng(seed).integers((0, 0, 15, 10), (14, 9, 30, 20))), fill=1)
    return np.asarray(canvas)


@pytest.mark.parametrize(
    ("box", "options"),
    [
        ([5, 2, 15, 10], {}),
        ([5, 2, 10, 8], {"box_format": "xywh"}),
        ([5 / 30, 0.1, 0.5, 0.5], {"box_units": "relative"}),
        ([5 / 30, 0.1, 10 / 30, 0.4], {"box_units": "relative", "box_format": "xywh"}),
        ([5.3, 2.9, 14.2, 9.1], {}),
    ],
)
def test_box_covers_every_pixel_that_it_touches(box, options):
    mask = boxes(box, **options)
    assert mask[2:10, 5:15].all() and mask.sum() == 80


def test_boxes_are_counted_as_objects_of_the_mask():
    photo = Photo(np.zeros((40, 60, 3), np.uint8), "RGB", "PNG")
    spec = json.dumps([{"boxes": [[1, 1, 5, 5], [10, 10, 20, 20]]}, {"boxes": [[30, 0, 32, 4]]}])
    drawn = draw_mask(spec.encode(), photo, MaskConfig(kind="boxes"), 10**6)
    assert drawn.objects == 3 and drawn.score is None and drawn.pixels.any()


def test_boxes_over_the_border_are_clipped_and_none_is_nothing():
    assert boxes([-5, -5, 3, 2], [28, 18, 99, 99]).sum() == 6 + 4
    assert not boxes().any()
    with pytest.raises(SampleError, match="is outside the picture of 30x20 pixels; was it annotated at another size"):
        boxes([5, 5, 9, 9], [40, 40, 50, 50])


@pytest.mark.parametrize(
    "box",
    [
        [10, 2, 5, 8],
        [1, 2, 3],
        [1, 2, 3, 4, 5],
        [float("nan"), 0, 1, 1],
        [0, 0, float("inf"), 1],
        [0, 0, 1e300, 1],
        ["a", 0, 1, 1],
        None,
        7,
        [[1], 2, 3, 4],
    ],
)
def test_box_that_is_none_fails_its_sample(box):
    with pytest.raises(SampleError, match="cannot be drawn") as caught:
        boxes(box)
    assert (caught.value.stage, caught.value.kind) == ("mask", "BadAnnotation")


@pytest.mark.parametrize("seed", range(8))
def test_run_lengths_are_those_of_the_reference(seed):
    mask = blob(seed)
    packed = reference.encode(np.asfortranarray(mask.astype(np.uint8)))
    compressed = {"size": packed["size"], "counts": packed["counts"].decode()}
    assert np.array_equal(segments(compressed), mask)
    flat = mask.T.ravel()
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flat.astype(int), [2]])))
    counts = np.diff(np.concatenate([[0], edges])).tolist()
    assert np.array_equal(segments({"size": [20, 30], "counts": counts}), mask)
    assert np.array_equal(segments(compressed, {"size": [20, 30], "counts": [600]}), mask)


@pytest.mark.parametrize("seed", range(20))
def test_polygons_are_those_of_the_reference_but_for_their_border(seed):
    generator = np.random.default_rng(seed)
    turns = np.sort(generator.uniform(0, 2 * np.pi, 7))
    radii = generator.uniform(8, 45, 7)
    polygon = np.stack([50 + radii * np.cos(turns), 50 + radii * np.sin(turns)], axis=1).ravel().tolist()
    ours = segments([polygon], shape=(100, 100))
    theirs = reference.decode(reference.merge(reference.frPyObjects([polygon], 100, 100))).astype(bool)
    assert (ours & theirs).sum() > 0.85 * (ours | theirs).sum()  # they differ along the border


def test_box_stands_in_for_a_missing_segmentation():
    assert segments({"bbox": [5, 2, 10, 8]}).sum() == 80


@pytest.mark.parametrize(
    "segment",
    [
        {"size": [20, 30], "counts": [1, 2]},
        {"size": [20, 30], "counts": [700, -100]},
        {"size": [30, 20], "counts": [600]},
        {"size": [20, 30], "counts": "zzzz\x7f"},
        {"size": [20, 30], "counts": "o" * 500},
        {"size": [20, 30], "counts": ""},
        {"size": [20, 30], "counts": [1e30]},
        {"counts": [600]},
        [[1, 2, 3, 4]],
        [[1, 2, 3, 4, 5, 6, 7]],
        [[float("nan")] * 6],
        [[1e12] * 6],
        "polygon",
        {},
        None,
        5,
    ],
)
def test_segmentation_that_is_none_fails_its_sample(segment):
    with pytest.raises(SampleError, match="cannot be drawn"):
        segments(segment)


def test_annotations_of_another_size_fail_unless_they_may_be_scaled():
    spec = json.dumps([{"height": 40, "width": 60, "segments": [{"bbox": [10, 4, 20, 16]}]}])
    with pytest.raises(SampleError, match=r"annotated at 60x40, the image is stored as 30x20 .* mask\.resize"):
        draw(spec, (20, 30), COCO)
    assert draw(spec, (20, 30), MaskConfig(kind="coco", resize=True)).shape == (40, 60)
    with pytest.raises(SampleError, match="far more than the image has"):
        draw(spec.replace("40", "4000000"), (20, 30), MaskConfig(kind="coco", resize=True))


def test_large_photo_annotated_and_scaled_down_is_taken():
    spec = json.dumps([{"height": 3000, "width": 4500, "segments": [{"bbox": [150, 150, 300, 300]}]}])
    assert draw(spec, (20, 30), MaskConfig(kind="coco", resize=True)).sum() == 90_000


@pytest.mark.parametrize("size", [(0, 0), (20, -1)])
def test_size_that_is_none_is_no_reason_to_scale(size):
    spec = json.dumps([{"height": size[0], "width": size[1], "segments": [{"bbox": [10, 4, 20, 16]}]}])
    with pytest.raises(SampleError, match=r"the file states .* pixels as its size"):
        draw(spec, (20, 30), COCO)


@pytest.mark.parametrize("segment", [[[[5, 2], [15, 2], [15, 10]]], [[None] * 6], {}, {"bbox": "5,2,9,9"}])
def test_reason_names_what_is_no_shape(segment):
    with pytest.raises(SampleError, match=r"is not a coordinate|needs counts and size"):
        segments(segment)


def stored(tmp_path, text: str) -> Storage:
    (tmp_path / "annotations").write_text(text)
    return Storage(str(tmp_path / "annotations"))


def test_box_lines_are_read_by_either_name(tmp_path):
    lines = '{"sample_id": "a.jpg", "boxes": [[1, 2, 3, 4]]}\n\n{"file_name": "b/c.jpg", "boxes": []}\n'
    assert dict(read_boxes(stored(tmp_path, lines))) == {
        "a.jpg": '{"boxes": [[1, 2, 3, 4]]}',
        "b/c.jpg": '{"boxes": []}',
    }


@pytest.mark.parametrize("line", ["{", "[]", '{"boxes": []}', '{"sample_id": "a"}', '{"sample_id": "a", "boxes": 3}'])
def test_line_that_names_no_sample_is_a_configuration_error(tmp_path, line):
    good = '{"sample_id": "a.jpg", "boxes": []}\n'
    with pytest.raises(ConfigError, match="line 2: expected an object"):
        list(read_boxes(stored(tmp_path, good + line)))


def coco(tmp_path) -> Storage:
    content = {
        "images": [{"id": 1, "file_name": "a.jpg", "height": 20, "width": 30}, {"id": 2, "file_name": "b.jpg"}],
        "categories": [{"id": 7, "name": "logo"}, {"id": 8, "name": "text"}],
        "annotations": [
            {"image_id": 1, "category_id": 7, "bbox": [1, 1, 2, 2]},
            {"image_id": 1, "category_id": 8, "bbox": [5, 5, 3, 3], "segmentation": []},
            {"image_id": 99, "category_id": 8, "bbox": [5, 5, 3, 3]},
        ],
    }
    return stored(tmp_path, json.dumps(content))


@pytest.mark.parametrize(("categories", "pixels"), [([], 13), (["logo"], 4), ([8], 9), (["text", 7], 13)])
def test_coco_categories_choose_what_is_repainted(tmp_path, categories, pixels):
    specs = dict(read_coco(coco(tmp_path), categories))
    assert draw(f"[{specs['a.jpg']}]", (20, 30), COCO).sum() == pixels
    assert not draw(f"[{specs['b.jpg']}]", (20, 30), COCO).any()


def test_unknown_category_names_those_there_are(tmp_path):
    with pytest.raises(ConfigError, match="has no cat; it has logo, text"):
        list(read_coco(coco(tmp_path), ["cat", "logo"]))


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"images": 3, "annotations": []}', '{"images": [{}], "annotations": []}']
)
def test_file_that_is_no_coco_is_a_configuration_error(tmp_path, text):
    with pytest.raises(ConfigError, match="is not a COCO file"):
        list(read_coco(stored(tmp_path, text), []))


@pytest.mark.parametrize("box", [[0.2, 0.1, 0.6, 0.5], [0, 0, 1, 0.5], [0.0, 0.0, 1.0, 1.0], [-0.01, 0.5, 1.02, 0.9]])
def test_relative_box_in_pixels_fails_with_what_to_set(box):
    with pytest.raises(SampleError, match=r"no larger than a pixel; mask\.box_units=relative takes parts"):
        boxes([1, 1, 5, 5], box)
    assert boxes(box, box_units="relative").any()
    with pytest.raises(SampleError, match="no larger than a pixel; COCO counts in pixels"):
        segments({"bbox": box})


def test_box_of_one_whole_pixel_is_one():
    assert boxes([0, 0, 1, 1]).sum() == 1
    assert boxes([0.5, 0.5, 1.5, 1.5]).sum() == 4


@pytest.mark.parametrize("box", [[5, 2, 15, 10], [0.5, 0.5, 2.5, 0.7]])
def test_box_of_pixels_in_relative_units_fails_with_what_to_set(box):
    with pytest.raises(SampleError, match=r"not in parts of width and height; mask\.box_units=pixel takes pixels"):
        boxes(box, box_units="relative")


def test_relative_box_over_the_border_is_cut_off():
    assert boxes([-0.1, -0.1, 1.1, 1.1], box_units="relative").all()


GOOD_POLYGON = [5, 2, 15, 2, 15, 10, 5, 10]


@pytest.mark.parametrize(
    "part",
    [
        [[]],
        [[5, 5]],
        [[5, 5, 9, 9]],
        [[5, 5, 9, 9, 5, 5]],
        [[5, 5] * 3],
        [[0.1, 9, 7.3, 9, 20, 9]],
        {"bbox": [5, 5, 0, 0]},
        {"bbox": None},
        {"bbox": []},
    ],
)
def test_degenerate_part_is_left_out_but_not_alone(part):
    alone = segments([GOOD_POLYGON])
    assert alone[2:10, 5:15].all()
    assert np.array_equal(segments(part, [GOOD_POLYGON]), alone)
    if isinstance(part, list):
        assert np.array_equal(segments([*part, GOOD_POLYGON]), alone)
    with pytest.raises(SampleError, match="none of 1 covers a pixel") as caught:
        segments(part)
    assert caught.value.kind == "BadAnnotation"


def test_flat_box_is_left_out_but_not_alone():
    assert boxes([5, 5, 5, 9], [5, 2, 15, 10]).sum() == 80
    with pytest.raises(SampleError, match="covers a pixel"):
        boxes([5, 5, 5, 9])


def test_polygon_without_the_list_around_it_is_one():
    assert np.array_equal(segments(GOOD_POLYGON), segments([GOOD_POLYGON]))


@pytest.mark.parametrize(
    "part", ["abc", "123456", ["123456"], [[5, 2, 15, 2, 15, 10, 5]], [[0.1, 0.1, 0.5, 0.1, 0.5, 0.5]]]
)
def test_broken_part_beside_a_good_one_fails_the_sample(part):
    with pytest.raises(SampleError, match="cannot be drawn"):
        segments([GOOD_POLYGON], part)


def test_polygon_may_lie_outside_by_a_rim_only():
    assert segments([[-2, -2, 32, -2, 32, 22, -2, 22]]).all()
    with pytest.raises(SampleError, match="reaches to 30, 28 from 0, 0, outside the picture of 30x20 pixels; was it"):
        segments([GOOD_POLYGON], [[0, 0, 30, 0, 30, 28, 0, 28]])


@pytest.mark.parametrize("found", [{"boxes": [[2, 24, 10, 29]]}, {"segments": [[[2, 24, 10, 24, 10, 29, 2, 29]]]}])
def test_annotation_that_fits_the_turned_photo_only_says_what_to_set(found):
    config = MaskConfig(kind=next(iter(found)).replace("segments", "coco"))
    spec = json.dumps([{"width": 30, "height": 20, **found}])  # as stored, while the shapes are as seen
    with pytest.raises(SampleError, match=r"EXIF orientation 6 it may also be 20x30: try mask\.upright=true"):
        draw(spec, (20, 30), config, 6)
    upright = draw(spec, (30, 20), replace(config, upright=True), 6)
    assert upright[25:28, 3:9].all() and not upright[:23].any()
    # A box that is cut off at the border of a photo that nothing turns is one all the same.
    if "boxes" in found:
        assert boxes([2, 14, 10, 29]).sum() == 8 * 6


def test_annotation_of_the_turned_size_says_what_to_set():
    spec = json.dumps([{"width": 20, "height": 30, "segments": [[GOOD_POLYGON]]}])
    for resize in (False, True):
        with pytest.raises(
            SampleError, match=r"annotated at 20x30, .* stored as 30x20 .* mask\.upright=true"
        ) as caught:
            draw(spec, (20, 30), MaskConfig(kind="coco", resize=resize), 6)
        assert caught.value.kind == "MaskSizeMismatch"
    assert draw(spec, (30, 20), MaskConfig(kind="coco", upright=True), 6).any()


def test_many_polygons_share_one_canvas(monkeypatch):
    made = []
    new = Image.new
    monkeypatch.setattr(Image, "new", lambda *arguments: made.append(arguments) or new(*arguments))
    polygons = [[[x, y, x + 3, y, x + 3, y + 3]] for x in range(0, 90, 5) for y in range(0, 90, 5)]
    assert segments(*polygons, {"size": [100, 100], "counts": [10, 5, 9985]}, shape=(100, 100)).any()
    assert len(made) == 1


def test_boxes_may_begin_with_a_byte_order_mark_and_end_lines_as_windows_does(tmp_path):
    lines = '\ufeff{"sample_id": "a.jpg", "boxes": []}\r\n{"sample_id": "b.jpg", "boxes": []}\r\n'
    (tmp_path / "annotations").write_bytes(lines.encode())
    assert [name for name, _ in read_boxes(Storage(str(tmp_path / "annotations")))] == ["a.jpg", "b.jpg"]
