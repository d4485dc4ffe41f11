"""Small ONNX models: with fixed outputs, and ones that find what is red."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET, IR = 17, 9
RED = (255, 0, 0)
TYPES = {np.dtype(np.float32): TensorProto.FLOAT, np.dtype(np.uint8): TensorProto.UINT8}
Shape = Sequence[int | str]


def save_model(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    outputs: Mapping[str, tuple[int, Shape | None]],
    constants: Mapping[str, np.ndarray] | None = None,
    shape: Shape = (1, 3, 64, 64),
    dtype: type = np.float32,
    metadata: Mapping[str, str] | None = None,
    sizes: bool = False,
) -> Path:
    """Write a model whose input is ``photo``; ``outputs`` are types and shapes by name."""
    inputs = [helper.make_tensor_value_info("photo", TYPES[np.dtype(dtype)], list(shape))]
    if sizes:
        inputs.append(helper.make_tensor_value_info("orig_target_sizes", TensorProto.INT64, [1, 2]))
    graph = helper.make_graph(
        list(nodes),
        "graph",
        inputs,
        [helper.make_tensor_value_info(name, kind, None) for name, (kind, _) in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in (constants or {}).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)
    helper.set_model_props(model, dict(metadata or {}))
    onnx.save(model, str(path))
    return path


def fixed(path: Path, outputs: Mapping[str, np.ndarray], **options) -> Path:
    """Write a model that always has the same outputs."""
    constants = {f"fixed_{name}": value for name, value in outputs.items()}
    nodes = [helper.make_node("Identity", [f"fixed_{name}"], [name]) for name in outputs]
    kinds = {name: (helper.np_dtype_to_tensor_dtype(value.dtype), value.shape) for name, value in outputs.items()}
    return save_model(path, nodes, kinds, constants, **options)


def red_nodes(weights: Sequence[float] = (1.0, -0.5, -0.5)) -> tuple[list[onnx.NodeProto], dict[str, np.ndarray]]:
    """Return nodes that compute ``red``, (1, 1, h, w) 0 … 1, how much redder than anything else each pixel is."""
    kernel = np.array(weights, np.float32).reshape(1, 3, 1, 1)
    nodes = [
        helper.make_node("Conv", ["photo", "kernel"], ["difference"]),
        helper.make_node("Clip", ["difference", "zero", "one"], ["red"]),
    ]
    return nodes, {"kernel": kernel, "zero": np.float32(0), "one": np.float32(1)}


def red_heatmap(path: Path, **options) -> Path:
    """Write a model with the heatmap of red."""
    nodes, constants = red_nodes()
    return save_model(path, nodes, {"red": (TensorProto.FLOAT, None)}, constants, **options)


def red_box(path: Path, **options) -> Path:
    """Write a model with the box around everything red as a finished prediction, (1, 1, 6)."""
    nodes, constants = red_nodes()
    for axis, name in ((2, "x"), (3, "y")):  # reduced over rows leaves columns
        nodes += [
            helper.make_node("ReduceMax", ["red"], [f"any_{name}"], axes=[axis], keepdims=0),
            helper.make_node("Greater", [f"any_{name}", "half"], [f"is_{name}"]),
            helper.make_node("Cast", [f"is_{name}"], [f"set_{name}"], to=TensorProto.FLOAT),
            helper.make_node("ArgMax", [f"set_{name}"], [f"first_{name}"], axis=-1),
            helper.make_node("ArgMax", [f"set_{name}"], [f"final_{name}"], axis=-1, select_last_index=1),
            helper.make_node("Cast", [f"first_{name}"], [f"low_{name}"], to=TensorProto.FLOAT),
            helper.make_node("Cast", [f"final_{name}"], [f"top_{name}"], to=TensorProto.FLOAT),
            helper.make_node("Add", [f"top_{name}", "one"], [f"high_{name}"]),
        ]
    nodes += [
        helper.make_node("ReduceMax", ["red"], ["score"], axes=[2, 3], keepdims=0),
        helper.make_node("Sub", ["score", "score"], ["class"]),
        helper.make_node("Reshape", ["score", "shape_1"], ["score_1"]),
        helper.make_node("Reshape", ["class", "shape_1"], ["class_1"]),
    ]
    parts = ["low_x", "low_y", "high_x", "high_y"]
    nodes += [helper.make_node("Reshape", [part, "shape_1"], [f"{part}_1"]) for part in parts]
    nodes.append(
        helper.make_node("Concat", [*(f"{part}_1" for part in parts), "score_1", "class_1"], ["output0"], axis=2)
    )
    constants |= {"half": np.float32(0.5), "shape_1": np.array([1, 1, 1])}
    return save_model(path, nodes, {"output0": (TensorProto.FLOAT, None)}, constants, **options)
