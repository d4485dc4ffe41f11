"""The same objects in the files of several labelling tools."""

import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco_masks

from jobs.configuration.load import load_config
from pipeline.codecs.photo import Photo
from pipeline.config.job import JobConfig, SinkConfig, SourceConfig
from pipeline.config.mask import MaskConfig
from pipeline.database import Database
from pipeline.errors import ConfigError, SampleError
from pipeline.masks.decode import draw_mask
from pipeline.planning.listing import find_samples
from tests.conftest import ROOT, saved

HEIGHT, WIDTH = 60, 80
PHOTO = Photo(np.zeros((HEIGHT, WIDTH, 3), np.uint8), "RGB", "PNG")
LEFT, TOP, RIGHT, BOTTOM = BOX = (10, 20, 30, 40)
CORNERS = [[LEFT, TOP], [RIGHT, TOP], [RIGHT, BOTTOM], [LEFT, BOTTOM]]


def draw(data: bytes | str, **options):
    config = MaskConfig(**{"kind": "labels", "max_fraction": 1.0, **options})
    return draw_mask(data.encode() if isinstance(data, str) else data, PHOTO, config, 10**6)


def yolo(label: int = 0, score: str = "") -> str:
    numbers = [(LEFT + RIGHT) / 2 / WIDTH, (TOP + BOTTOM) / 2 / HEIGHT, (RIGHT - LEFT) / WIDTH, (BOTTOM - TOP) / HEIGHT]
    return " ".join(map(str, [label, *numbers, score])).strip()


def labelme(*shapes: dict, height: int = HEIGHT) -> str:
    plain = [{"label": "logo", "points": [BOX[:2], BOX[2:]], "shape_type": "rectangle"}]
    return json.dumps({"version": "5", "imageHeight": height, "imageWidth": WIDTH, "shapes": list(shapes) or plain})


def voc(inner: str = "", name: str = "logo", size: str = f"<width>{WIDTH}</width><height>{HEIGHT}</height>") -> str:
    box = f"<bndbox><xmin>{LEFT + 1}</xmin><ymin>{TOP + 1}</ymin><xmax>{RIGHT}</xmax><ymax>{BOTTOM}</ymax></bndbox>"
    found = f"<object><name>{name}</name>{inner or box}</object>"
    return f'<?xml version="1.0"?>\n<annotation><size>{size}<depth>3</depth></size>{found}</annotation>'


def sa1b() -> str:
    pixels = np.zeros((HEIGHT, WIDTH), np.uint8, order="F")
    pixels[TOP:BOTTOM, LEFT:RIGHT] = 1
    encoded = coco_masks.encode(pixels)
    segment = {"size": encoded["size"], "counts": encoded["counts"].decode()}
    image = {"image_id": 7, "width": WIDTH, "height": HEIGHT, "file_name": "a.jpg"}
    return json.dumps({"image": image, "annotations": [{"segmentation": segment, "predicted_iou": 0.9}]})


FILES = {"yolo": yolo(score="0.9"), "labelme": labelme(), "voc": voc(), "sa1b": sa1b()}


@pytest.mark.parametrize("labels", FILES)
def test_box_is_the_same_in_every_format_also_if_the_format_is_not_told(labels):
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[TOP:BOTTOM, LEFT:RIGHT] = True
    for told in (labels, "auto"):
        drawn = draw(FILES[labels], labels=told)
        assert np.array_equal(drawn.pixels, expected) and drawn.objects == 1
        assert drawn.score == (0.9 if labels in ("yolo", "sa1b") else None)


@pytest.mark.parametrize("labels", FILES)
@given(st.data())
@settings(deadline=None, max_examples=60)
def test_damaged_label_file_is_drawn_or_fails_its_sample(labels, data):
    text = bytearray(FILES[labels].encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text) - 1))
        text[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    try:
        drawn = draw(bytes(text), labels=data.draw(st.sampled_from([labels, "auto"])))
    except SampleError as error:
        assert error.stage == "mask"
    else:
        assert drawn.pixels.shape == (HEIGHT, WIDTH)


@pytest.mark.parametrize("labels", FILES)
@pytest.mark.parametrize("data", [b"[1, 2]", b"\xff\xfe\0", b"{", b"<a>", b'{"shapes": 3}', b"null", b"\x89PNG"])
def test_other_content_fails_its_sample(labels, data):
    with pytest.raises(SampleError) as caught:
        draw(data, labels=labels)
    assert (caught.value.stage, caught.value.kind) == ("mask", "BadAnnotation")


def test_empty_yolo_file_has_no_objects_and_lines_may_end_in_any_way():
    assert not draw("").pixels.any() and draw("").objects == 0
    assert draw(f"\ufeff{yolo()}\r\n\r\n{yolo(1)}\r\n").objects == 2


def test_yolo_polygons_have_corners_with_or_without_a_confidence():
    corners = " ".join(f"{x / WIDTH} {y / HEIGHT}" for x, y in CORNERS)
    plain, sure = draw(f"1 {corners}"), draw(f"1 {corners} 0.75")
    assert np.array_equal(plain.pixels, sure.pixels) and (plain.score, sure.score) == (None, 0.75)
    assert plain.pixels[TOP:BOTTOM, LEFT:RIGHT].all() and plain.pixels.sum() <= 22 * 22


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("0 40 30 20 20", "line 1: YOLO counts in parts of width and height, got 40"),
        ("0 0.5 0.5 nan 0.1", "got nan"),
        ("0 0.5 0.5 0.1", "line 1 must have a class and a box or a polygon"),
        ("logo 0.5 0.5 0.1 0.1", "something else than numbers"),
        ("0 0.5 0.5 0.1 0.1 7", "a confidence of 7"),
    ],
)
def test_yolo_line_that_is_none_fails_its_sample_and_is_named(line, reason):
    with pytest.raises(SampleError, match=reason):
        draw(line, labels="yolo")


def test_categories_choose_classes_by_name_or_number():
    both = f"{yolo(0)}\n1 0.9 0.9 0.1 0.1"
    first, names = draw(yolo(0)).pixels, ["logo", "text"]
    assert np.array_equal(draw(both, categories=[0]).pixels, first)
    assert np.array_equal(draw(both, categories=["logo"], class_names=names).pixels, first)
    assert np.array_equal(draw(both, categories=["0"], class_names=names).pixels, first)
    assert not draw(both, categories=[5]).pixels.any()
    with pytest.raises(SampleError, match=r"set mask\.class_names to the file"):
        draw(both, categories=["logo"])
    for data in (labelme(), voc()):
        assert draw(data, categories=["logo"]).pixels.any() and not draw(data, categories=["text"]).pixels.any()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("classes.txt", "logo\ntext\n"),
        ("data.yaml", "train: images\nnames: [logo, text]\n"),
        ("data.yml", "names:\n  1: text\n  0: logo\n"),
    ],
)
def test_classes_are_read_from_their_file_when_the_configuration_is_loaded(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    overrides = [
        "mask.kind=labels",
        f"mask.class_names={tmp_path / name}",
        "mask.categories=[text]",
        "mask.labels=yolo",
    ]
    config = load_config(str(ROOT / "conf" / "inpaint.yaml"), overrides)
    assert config.mask.class_names == ["logo", "text"]
    given = load_config(str(ROOT / "conf" / "inpaint.yaml"), [*overrides, "mask.class_names=[logo, text]"])
    assert given.fingerprint == config.fingerprint
    with pytest.raises(ConfigError, match=r"mask\.class_names has no photo; it has logo, text"):
        load_config(str(ROOT / "conf" / "inpaint.yaml"), [*overrides, "mask.categories=[photo]"])


@pytest.mark.parametrize("text", ["names: 3", "nc: 2", "names: {a: b}", "names: {99999999: a}", "{", ": :"])
def test_file_without_class_names_is_a_configuration_error(tmp_path, text):
    (tmp_path / "data.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"mask\.class_names: .*data\.yaml has no names of classes"):
        load_config(
            str(ROOT / "conf" / "inpaint.yaml"), ["mask.kind=labels", f"mask.class_names={tmp_path / 'data.yaml'}"]
        )
    with pytest.raises(ConfigError, match=r"mask\.class_names: nothing at"):
        load_config(str(ROOT / "conf" / "inpaint.yaml"), ["mask.kind=labels", f"mask.class_names={tmp_path}/none.txt"])


def shape(kind: str, points: list, **more) -> dict:
    return {"label": "logo", "shape_type": kind, "points": points, **more}


def test_labelme_shapes_are_drawn_by_their_type():
    inside = np.zeros((HEIGHT, WIDTH), bool)
    inside[TOP:BOTTOM, LEFT:RIGHT] = True
    polygon = draw(labelme(shape("polygon", CORNERS))).pixels
    assert polygon[inside].all() and polygon.sum() <= 22 * 22
    swapped = draw(labelme(shape("rectangle", [BOX[2:], BOX[:2]]))).pixels
    assert np.array_equal(swapped, inside)
    circle = draw(labelme(shape("circle", [[40, 30], [50, 30]]))).pixels
    assert abs(circle.sum() - np.pi * 100) < 40 and circle[30, 49] and not circle[21, 31]
    picture = np.zeros((20, 20), np.uint8)
    picture[5:, 5:] = 255
    mask = base64.b64encode(saved(Image.fromarray(picture))).decode()
    drawn = draw(labelme(shape("mask", [[70, 50], [89, 69]], mask=mask))).pixels
    assert drawn.sum() == 5 * 5 and drawn[55:, 75:].all()  # what is outside is cut off
    drawn = draw(labelme(shape("mask", [[-10, -10], [9, 9]], mask=mask))).pixels
    assert drawn.sum() == 10 * 10 and drawn[:10, :10].all()
    with_line = draw(labelme(shape("polygon", CORNERS), shape("linestrip", CORNERS), shape("point", [[1, 1]]))).pixels
    assert np.array_equal(with_line, polygon)
    with pytest.raises(SampleError, match="none of 1 covers a pixel"):
        draw(labelme(shape("line", CORNERS[:2])))
    with pytest.raises(SampleError, match="type 'spiral' cannot be drawn"):
        draw(labelme(shape("spiral", CORNERS)))


def test_stated_size_must_be_that_of_the_image_unless_masks_are_scaled():
    for data in (labelme(height=2 * HEIGHT), voc(size=f"<width>{2 * WIDTH}</width><height>{2 * HEIGHT}</height>")):
        with pytest.raises(SampleError) as caught:
            draw(data)
        assert caught.value.kind == "MaskSizeMismatch"
    scaled = draw(voc(size=f"<width>{2 * WIDTH}</width><height>{2 * HEIGHT}</height>"), resize=True).pixels
    assert scaled[TOP // 2 : BOTTOM // 2, LEFT // 2 : RIGHT // 2].all() and scaled.sum() == 100
    for size in ("<width>0</width><height>0</height>", ""):  # as tools write that did not know it
        assert draw(voc(size=size)).pixels.sum() == 400


def test_voc_polygons_are_taken_instead_of_their_box():
    points = "".join(f"<x{n}>{x}</x{n}><y{n}>{y}</y{n}>" for n, (x, y) in enumerate(CORNERS, start=1))
    drawn = draw(voc(f"<polygon>{points}</polygon><bndbox><xmin>1</xmin></bndbox>")).pixels
    assert drawn[TOP:BOTTOM, LEFT:RIGHT].all() and drawn.sum() <= 22 * 22
    with pytest.raises(SampleError, match="neither bndbox nor polygon"):
        draw(voc("<pose>left</pose>"))
    with pytest.raises(SampleError, match="xmax must be a number"):
        draw(voc("<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>?</xmax><ymax>2</ymax></bndbox>"))


BOMB = '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "bbbb">{}]><annotation><object>&z;</object></annotation>'


@pytest.mark.parametrize(
    "text",
    [
        BOMB.format("".join(f'<!ENTITY {one[1]} "{f"&{one[0]};" * 50}">' for one in ("bc", "cd", "dy", "yz"))),
        '<!DOCTYPE a [<!ENTITY z SYSTEM "file:///etc/passwd">]><annotation><object>&z;</object></annotation>',
        '<!DOCTYPE annotation SYSTEM "http://127.0.0.1:9/a.dtd"><annotation></annotation>',
    ],
)
def test_xml_that_declares_a_document_type_is_refused(text):
    for data in (text.encode(), text.replace('<?xml version="1.0"?>', "").encode("utf-16")):
        with pytest.raises(SampleError, match="must not declare a document type"):
            draw(data, labels="voc")


def test_large_label_file_is_refused_before_it_is_parsed(monkeypatch):
    monkeypatch.setattr("pipeline.masks.label_files.parse.MAX_LABEL_BYTES", 100)
    with pytest.raises(SampleError, match="is larger than 100"):
        draw(labelme())


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"labels": "coco"}, r"mask\.labels must be one of auto, yolo"),
        ({"labels": "yolo", "categories": ["logo"]}, r"set mask\.class_names to the classes\.txt or data\.yaml"),
        ({"labels": "sa1b", "categories": ["logo"]}, "whose objects have no class"),
        ({"class_names": [1]}, r"mask\.class_names must be a list of names"),
        ({"kind": "paired", "class_names": ["a"]}, r"mask\.class_names has no meaning for mask\.kind=paired"),
    ],
)
def test_settings_that_do_not_fit_are_refused(options, reason):
    with pytest.raises(ConfigError, match=reason):
        JobConfig(mask=MaskConfig(**{"kind": "labels", **options}))


def test_list_of_images_needs_a_template_since_no_label_is_looked_for(tmp_path: Path):
    source = SourceConfig("list", str(tmp_path / "list.csv"))
    with pytest.raises(ConfigError, match=r"needs mask\.template with source\.format=list"):
        JobConfig(source, MaskConfig("labels"))
    assert JobConfig(source, MaskConfig("labels", template="{dir}{stem}.txt")).fingerprint


def test_picture_in_a_label_file_is_checked_like_a_mask():
    file = io.BytesIO()
    Image.new("L", (4000, 4000), 255).save(file, "PNG")
    mask = base64.b64encode(file.getvalue()).decode()
    with pytest.raises(SampleError, match="pixels"):
        draw_mask(
            labelme(shape("mask", [[0, 0], [9, 9]], mask=mask)).encode(),
            PHOTO,
            MaskConfig(kind="labels"),
            max_pixels=10**6,
        )


def test_labels_among_the_images_hide_none_of_them(tmp_path):
    for folder in ("train", "val"):
        (tmp_path / folder).mkdir()
        for name in ("a", "b.v1"):
            (tmp_path / folder / f"{name}.jpg").write_bytes(b"image")
            (tmp_path / folder / f"{name}.TXT").write_text(yolo())
    (tmp_path / "train" / "classes.txt").write_text("logo\n")
    for uri, expected in (("", 4), ("train", 0)):
        config = JobConfig(
            SourceConfig(uri=str(tmp_path)), MaskConfig("labels", uri=str(tmp_path / uri)), sink=SinkConfig(uri="out/")
        )
        with Database() as database:
            find_samples(config, database)
            rows = database.run("SELECT sample_id, mask_key FROM samples")
        assert len(rows) == 4 and sum(key is not None for _, key in rows) == expected
        assert all(key is None or key == sample_id.replace(".jpg", ".TXT") for sample_id, key in rows)
