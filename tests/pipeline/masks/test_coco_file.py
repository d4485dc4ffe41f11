import json
import logging
import random
from collections import Counter

import pytest

from pipeline.errors import ConfigError
from pipeline.masks.coco_file import read_coco
from pipeline.storage.storage import Storage

BOX = [1, 1, 5, 5]


def stored(tmp_path, images: list, annotations: list, **more) -> Storage:
    content = {"annotations": annotations, **more, "images": images}  # in an order that tools write, too
    (tmp_path / "coco.json").write_text(json.dumps(content))
    return Storage(str(tmp_path / "coco.json"))


def image(image_id, name: str = "") -> dict:
    return {"id": image_id, "file_name": name or f"{image_id}.jpg", "height": 20, "width": 30}


def segments(storage: Storage, categories=(), left_out: Counter | None = None) -> dict[str, int]:
    """Number of shapes by image."""
    found = read_coco(storage, list(categories), left_out)
    return {name: len(json.loads(spec)["segments"]) for name, spec in found}


@pytest.mark.parametrize(("ours", "theirs"), [(0, "0"), ("7", 7), (7, 7.0), ("a", "a"), (2**60, str(2**60))])
def test_ids_of_another_type_are_the_same(tmp_path, ours, theirs):
    storage = stored(tmp_path, [image(ours, "a.jpg")], [{"image_id": theirs, "category_id": 1, "bbox": BOX}])
    assert segments(storage) == {"a.jpg": 1}


def test_size_of_null_is_none_that_is_stated(tmp_path):
    storage = stored(tmp_path, [image(1) | {"height": None, "width": None}], [{"image_id": 1, "bbox": BOX}])
    ((_, spec),) = read_coco(storage, [])
    assert json.loads(spec).keys() == {"segments"}


def test_category_ids_of_another_type_are_the_same(tmp_path):
    annotations = [{"image_id": 1, "category_id": key, "bbox": BOX} for key in ("1", 1, 2)]
    categories = [{"id": 1, "name": "logo"}, {"id": "2", "name": "text"}]
    storage = stored(tmp_path, [image(1)], annotations, categories=categories)
    assert [segments(storage, [asked])["1.jpg"] for asked in ("logo", 1, "text", 2, "2")] == [2, 2, 1, 1, 1]


def test_annotations_of_no_image_are_counted_and_said(tmp_path, caplog):
    annotations = [{"image_id": key, "category_id": 1, "bbox": BOX} for key in (1, 8, 9)]
    left_out: Counter[str] = Counter()
    with caplog.at_level(logging.WARNING, "pipeline.masks.coco_file"):
        assert segments(stored(tmp_path, [image(1), image(2)], annotations), (), left_out) == {"1.jpg": 1, "2.jpg": 0}
    assert left_out == {"annotations without an image": 2}
    assert "2 of 3 annotations are left out: they have the image_id of no image, such as 8" in caplog.text


def test_file_whose_annotations_all_belong_to_no_image_is_refused(tmp_path):
    storage = stored(tmp_path, [image(1)], [{"image_id": 9, "category_id": 1, "bbox": BOX}])
    with pytest.raises(ConfigError, match="none of its 1 annotations has the image_id of an image, such as 9"):
        segments(storage)
    assert segments(stored(tmp_path, [image(1)], [])) == {"1.jpg": 0}


def test_two_images_of_one_id_are_refused_but_one_may_be_listed_twice(tmp_path):
    annotation = {"image_id": 1, "category_id": 1, "bbox": BOX}
    assert segments(stored(tmp_path, [image(1), image("1")], [annotation])) == {"1.jpg": 1}
    with pytest.raises(ConfigError, match=r"a\.jpg and b\.jpg are both image 1"):
        segments(stored(tmp_path, [image(1, "a.jpg"), image("1", "b.jpg")], [annotation]))


def test_empty_segmentation_is_none_so_that_the_box_counts(tmp_path):
    annotations = [
        {"image_id": 1, "category_id": 1, "bbox": BOX, "segmentation": empty} for empty in ([], [[]], {}, None)
    ]
    ((_, spec),) = read_coco(stored(tmp_path, [image(1)], annotations), [])
    assert json.loads(spec)["segments"] == [{"bbox": BOX}] * 4


def test_shapes_stay_in_the_order_of_the_file(tmp_path):
    order = [index % 50 for index in range(6000)]
    random.Random(0).shuffle(order)
    annotations = [{"image_id": key, "category_id": 1, "bbox": [at, 0, 5, 5]} for at, key in enumerate(order)]
    storage = stored(tmp_path, [image(key) for key in range(50)], annotations)
    found = [
        (int(name.partition(".")[0]), [shape["bbox"][0] for shape in json.loads(spec)["segments"]])
        for name, spec in read_coco(storage, [])
    ]
    assert found == [(key, [at for at, other in enumerate(order) if other == key]) for key in range(50)]
