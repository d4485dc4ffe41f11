"""Models that are not as they should be end as a ``ConfigError`` before the first sample, or fail samples."""

import hashlib
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, external_data_helper, helper, numpy_helper

import pipeline.extras
from pipeline.config.mask import MaskConfig
from pipeline.detection import onnx_model
from pipeline.detection import session as sessions
from pipeline.detection.external import has_external_data
from pipeline.errors import ConfigError, SampleError
from pipeline.masks.base import open_kind
from tests.pipeline.detection.onnx_models import fixed, red_heatmap, save_model
from tests.pipeline.detection.settings import opened

MAP = {"heat": np.zeros((1, 1, 64, 64), np.float32)}


@pytest.mark.parametrize(
    ("shape", "keys", "message"),
    [
        ((1, 3, "height", "width"), {}, r"takes photos of any size.*set mask\.input=\{size: \[width, height\]\}"),
        ((1, 3, 64, 64), {"input": {"size": 32}}, r"takes photos of 64x64 pixels, but mask\.input\.size is \[32, 32\]"),
        ((1, 1, 64, 64), {}, r"must take one photo of three colours.*it takes photo \[1, 1, 64, 64\]"),
        ((2, 3, 64, 64), {}, "must take one photo of three colours"),
        ((1, 3), {}, "must take one photo of three colours"),
        ((1, 3, 9000, 64), {}, "takes photos of 64x9000 pixels, more than 8192 a side"),
    ],
)
def test_model_with_another_input_is_refused(tmp_path, shape, keys, message):
    with pytest.raises(ConfigError, match=message):
        opened(fixed(tmp_path / "a.onnx", MAP, shape=shape), **keys)


@pytest.mark.parametrize("shape", [("batch", 3, "height", "width"), (1, "height", "width", 3), (3, "height", "width")])
def test_model_of_any_size_takes_the_configured_one(tmp_path, shape):
    path = fixed(tmp_path / "a.onnx", {"heat": np.ones((1, 48, 80), np.float32)}, shape=shape)
    assert opened(path, input={"size": [80, 48]}).find(np.zeros((30, 50, 3), np.uint8)).pixels.all()


def test_model_with_a_second_input_is_refused(tmp_path):
    path = fixed(tmp_path / "a.onnx", MAP)
    model = onnx.load(str(path))
    model.graph.input.append(helper.make_tensor_value_info("scale_factor", TensorProto.FLOAT, [1, 2]))
    onnx.save(model, str(path))
    with pytest.raises(ConfigError, match="takes more than a photo and its size: scale_factor"):
        opened(path)


@pytest.mark.parametrize("data", [b"", b"no model", b"\x08\x07", b"\x80" * 30, b"\x3a\xff\xff\x7f"])
def test_file_that_is_no_model_is_refused(tmp_path, data):
    path = tmp_path / "a.onnx"
    path.write_bytes(data)
    with pytest.raises(ConfigError, match=r"is no ONNX model|is no model that this onnxruntime can run"):
        opened(path)


def test_operator_that_onnxruntime_lacks_is_refused(tmp_path):
    node = helper.make_node("Mystery", ["photo"], ["heat"], domain="com.example")
    path = save_model(tmp_path / "a.onnx", [node], {"heat": (TensorProto.FLOAT, None)})
    with pytest.raises(ConfigError, match="is no model that this onnxruntime can run"):
        opened(path)


def test_refusal_writes_nothing_to_standard_output(tmp_path, capfd):
    """As onnxruntime does before it tries again on another device, here because the name is not UTF-8."""
    path = save_model(tmp_path / "a.onnx", [helper.make_node("Mystery", ["photo"], ["heat"])], {"heat": (1, None)})
    path.write_bytes(path.read_bytes().replace(b"Mystery", b"\xff" * 7))
    with pytest.raises(ConfigError, match="is no model that this onnxruntime can run"):
        opened(path)
    assert capfd.readouterr().out == ""


def test_output_that_is_no_tensor_of_numbers_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="fails on a grey picture: an output is no tensor of numbers"):
        opened(fixed(tmp_path / "a.onnx", {"heat": np.array([["a"]], object)}))
    path = save_model(
        tmp_path / "b.onnx", [helper.make_node("SequenceConstruct", ["photo"], ["all"])], {"all": (1, None)}
    )
    model = onnx.load(str(path))
    value = helper.make_tensor_sequence_value_info("all", TensorProto.FLOAT, None)
    model.graph.output[0].CopyFrom(value)
    onnx.save(model, str(path))
    with pytest.raises(ConfigError, match="fails on a grey picture: an output is no tensor of numbers"):
        opened(path)


def test_model_that_fails_while_it_runs_is_refused(tmp_path):
    node = helper.make_node("Reshape", ["photo", "shape"], ["heat"])
    path = save_model(tmp_path / "a.onnx", [node], {"heat": (TensorProto.FLOAT, None)}, {"shape": np.array([7, 7])})
    with pytest.raises(ConfigError, match=r"fails on a grey picture: .*Reshape"):
        opened(path)


def test_model_that_fails_for_one_photo_fails_that_sample(tmp_path):
    """It divides by nothing where the photo is black."""
    nodes = [
        helper.make_node("ReduceMean", ["photo"], ["light"], axes=[1], keepdims=1),
        helper.make_node("Div", ["light", "light"], ["heat"]),
    ]
    path = save_model(tmp_path / "a.onnx", nodes, {"heat": (TensorProto.FLOAT, None)})
    detector = opened(path)
    assert detector.find(np.full((9, 9, 3), 200, np.uint8)).pixels.all()
    with pytest.raises(SampleError, match="NaN") as caught:
        detector.find(np.zeros((9, 9, 3), np.uint8))
    assert (caught.value.stage, caught.value.kind) == ("mask", "BadDetection")


def test_outputs_whose_number_is_beyond_all_bounds_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_model, "MAX_OUTPUT_VALUES", 100)
    with pytest.raises(ConfigError, match="the outputs hold more than 100 values"):
        opened(fixed(tmp_path / "a.onnx", MAP, metadata={"unique": "bounds"}))


def test_model_that_never_ends_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_model, "TRIAL_S", 0.5)
    one = helper.make_tensor_value_info
    body = helper.make_graph(
        [helper.make_node("Identity", ["go_in"], ["go_out"]), helper.make_node("Sin", ["state_in"], ["state_out"])],
        "body",
        [one("i", TensorProto.INT64, []), one("go_in", TensorProto.BOOL, []), one("state_in", TensorProto.FLOAT, None)],
        [one("go_out", TensorProto.BOOL, []), one("state_out", TensorProto.FLOAT, None)],
    )
    node = helper.make_node("Loop", ["", "go", "photo"], ["heat"], body=body)
    path = save_model(tmp_path / "a.onnx", [node], {"heat": (TensorProto.FLOAT, None)}, {"go": np.array(True)})
    with pytest.raises(ConfigError, match="fails on a grey picture"):
        opened(path)


def test_file_beyond_the_limit_is_not_read(tmp_path):
    path = tmp_path / "a.onnx"
    with path.open("wb") as file:
        file.truncate(1 << 31)
    with pytest.raises(ConfigError, match=r"has more than .* bytes"):
        opened(path)


def test_path_that_is_no_file_is_not_read():
    with pytest.raises(ConfigError, match=r"mask\.model: /dev/zero is no file"):
        sessions.Session(Path("/dev/zero"), "0" * 64, "cpu", None)


def in_initializer(tensor):
    return helper.make_graph([helper.make_node("Identity", ["w"], ["heat"])], "g", [], [], [tensor])


def in_constant(tensor):
    return helper.make_graph([helper.make_node("Constant", [], ["heat"], value=tensor)], "g", [], [])


def in_branch(tensor):
    branch = in_constant(tensor)
    return helper.make_graph(
        [helper.make_node("If", ["c"], ["heat"], then_branch=branch, else_branch=branch)], "g", [], []
    )


@pytest.mark.parametrize("place", [in_initializer, in_constant, in_branch])
@pytest.mark.parametrize("location", ["weights.bin", "../weights.bin", "/etc/hostname"])
def test_model_with_weights_in_other_files_is_refused(tmp_path, place, location):
    tensor = numpy_helper.from_array(np.zeros((1, 1, 64, 64), np.float32), "w")
    whole = helper.make_model(place(tensor)).SerializeToString()
    assert not has_external_data(whole)
    external_data_helper.set_external_data(tensor, location)
    tensor.ClearField("raw_data")
    split = helper.make_model(place(tensor)).SerializeToString()
    assert has_external_data(split)
    path = tmp_path / "a.onnx"
    path.write_bytes(split)
    with pytest.raises(ConfigError, match="keeps weights in other files, which are not read"):
        opened(path)


@given(st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_search_for_other_files_ends_for_any_bytes(data):
    try:
        has_external_data(data)
    except ValueError as error:
        assert str(error)


def test_gpu_that_onnxruntime_does_not_have_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"mask\.device=cuda needs a GPU and the package onnxruntime-gpu"):
        opened(fixed(tmp_path / "a.onnx", MAP), device="cuda")


def test_missing_extra_is_said_with_its_command(monkeypatch):
    monkeypatch.setattr(pipeline.extras, "find_spec", lambda name: None if name == "onnxruntime" else sys)
    with pytest.raises(ConfigError, match=r"mask\.kind=detect needs onnxruntime: pip install .*\[detect\]'"):
        open_kind(MaskConfig(kind="detect", model="a.onnx")).fetch({})


def test_file_that_changed_after_it_was_hashed_is_refused(tmp_path):
    path = red_heatmap(tmp_path / "a.onnx")
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    fixed(path, MAP)
    with pytest.raises(ConfigError, match=f"another file than the one with the SHA-256 {sha256}"):
        sessions.Session(path, sha256, "cpu", None)
