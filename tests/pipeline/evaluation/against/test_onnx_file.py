"""Models with the inputs of LaMa's and MI-GAN's exports, which fill holes with one colour."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from pipeline.errors import ConfigError, SampleError
from pipeline.evaluation.against.onnx_file import open_onnx
from pipeline.evaluation.methods import Task
from tests.conftest import textured
from tests.pipeline.detection.onnx_models import IR, OPSET

FLOAT, BYTE = TensorProto.FLOAT, TensorProto.UINT8
COLOUR = 200


def save(path, nodes, kind, side, constants, channels=(3, 1), extra=()):
    sides = (side, side) if side else ("height", "width")
    inputs = [
        helper.make_tensor_value_info(name, kind, [1, count, *sides])
        for name, count in zip(("image", "mask"), channels, strict=True)
    ]
    graph = helper.make_graph(
        nodes,
        "graph",
        [*inputs, *extra],
        [helper.make_tensor_value_info("output", kind, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR), str(path))
    return str(path)


def blend(colour):
    """Nodes of image · (1 − hole) + colour · hole, scaled."""
    return [
        helper.make_node("Sub", ["one", "hole"], ["known"]),
        helper.make_node("Mul", ["image_f", "known"], ["kept"]),
        helper.make_node("Mul", [colour, "hole"], ["made"]),
        helper.make_node("Add", ["kept", "made"], ["unscaled"]),
        helper.make_node("Mul", ["unscaled", "scale"], ["result"]),
    ]


def lama(path, side=64, scale=255.0, marks_hole=True, colour=COLOUR / 255):
    start = [
        helper.make_node("Identity", ["image"], ["image_f"]),
        helper.make_node("Identity" if marks_hole else "Sub", ["mask"] if marks_hole else ["one", "mask"], ["hole"]),
    ]
    end = [helper.make_node("Identity", ["result"], ["output"])]
    constants = {"one": np.float32(1), "scale": np.float32(scale), "colour": np.full((1, 3, 1, 1), colour, np.float32)}
    return save(path, [*start, *blend("colour"), *end], FLOAT, side, constants)


def migan(path):
    start = [
        helper.make_node("Cast", ["image"], ["image_f"], to=FLOAT),
        helper.make_node("Cast", ["mask"], ["mask_f"], to=FLOAT),
        helper.make_node("Div", ["mask_f", "byte"], ["kept_share"]),
        helper.make_node("Sub", ["one", "kept_share"], ["hole"]),
    ]
    end = [helper.make_node("Cast", ["result"], ["output"], to=BYTE)]
    colour = np.full((1, 3, 1, 1), COLOUR, np.float32)
    constants = {"one": np.float32(1), "byte": np.float32(255), "scale": np.float32(1), "colour": colour}
    return save(path, [*start, *blend("colour"), *end], BYTE, None, constants)


@pytest.fixture
def task():
    mask = np.zeros((101, 147), bool)
    mask[20:50, 30:70] = True
    image = textured(*mask.shape)
    image[mask] = image[~mask].mean(axis=0)
    return Task("a.png", "objects", image, mask, 0)


@pytest.mark.parametrize(
    "make",
    [
        lama,
        lambda path: lama(path, scale=1.0),
        lambda path: lama(path, marks_hole=False),
        lambda path: lama(path, side=None),
        migan,
    ],
    ids=["lama", "unit-result", "inverted", "any-size", "migan"],
)
def test_hole_is_filled_and_the_rest_kept_whatever_the_contract(tmp_path, task, make):
    method = open_onnx(make(tmp_path / "a.onnx"), 1.5)
    filled = method.fill(task)
    assert filled.shape == task.image.shape and filled.dtype == np.uint8
    assert (filled[task.mask] == COLOUR).all() and np.array_equal(filled[~task.mask], task.image[~task.mask])
    assert method.parameters >= 5 and method.weight_bytes > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": (3, 3)}, r"must take a photo .* and a mask"),
        ({"channels": (3, 1), "extra": [helper.make_tensor_value_info("text", FLOAT, [1, 8])]}, "must take a photo"),
    ],
)
def test_model_with_other_inputs_is_refused(tmp_path, options, message):
    nodes = [helper.make_node("Identity", ["image"], ["output"])]
    with pytest.raises(ConfigError, match=message):
        open_onnx(save(tmp_path / "a.onnx", nodes, FLOAT, 64, {}, **options), 1.5)


def test_model_that_does_not_fill_holes_is_refused(tmp_path):
    nodes = [helper.make_node("Sub", ["one", "image"], ["output"])]
    with pytest.raises(ConfigError, match=r"changes a trial picture outside its hole by \d+ grey levels"):
        open_onnx(save(tmp_path / "a.onnx", nodes, FLOAT, 64, {"one": np.float32(1)}), 1.5)


def test_model_that_fails_or_returns_another_size_is_refused(tmp_path):
    nodes = [helper.make_node("Identity", ["mask"], ["output"])]
    with pytest.raises(ConfigError, match=r"fails on a trial picture: the result must be \(1, 3, 64, 64\), got"):
        open_onnx(save(tmp_path / "a.onnx", nodes, FLOAT, 64, {}), 1.5)


def test_model_with_weights_in_other_files_is_refused(tmp_path):
    path = lama(tmp_path / "a.onnx")
    model = onnx.load(path)
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    with pytest.raises(ConfigError, match=r"--against: .* keeps weights in other files"):
        open_onnx(path, 1.5)


def test_result_without_numbers_fails_that_photo(tmp_path, task):
    path = lama(tmp_path / "a.onnx", colour=float("nan"))
    with pytest.raises(ConfigError, match="fails on a trial picture: the result holds NaN"):
        open_onnx(path, 1.5)
    # Divides by the brightness of the photo, which the trial picture has.
    nodes = [
        helper.make_node("ReduceMax", ["image"], ["light"], keepdims=1),
        helper.make_node("Div", ["light", "light"], ["unit"]),
        helper.make_node("Mul", ["image", "unit"], ["same"]),
        helper.make_node("Mul", ["same", "scale"], ["output"]),
    ]
    method = open_onnx(save(tmp_path / "b.onnx", nodes, FLOAT, 64, {"scale": np.float32(255)}), 1.5)
    black = Task("b.png", "objects", np.zeros_like(task.image), task.mask, 0)
    with pytest.raises(SampleError, match="holds NaN"):
        method.fill(black)
