"""Fills of ONNX models that take a photo and a mask, such as exports of LaMa and MI-GAN."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pipeline.config.model_input import MAX_SIDE_PX
from pipeline.detection.external import count_parameters
from pipeline.detection.model_file import read_model
from pipeline.detection.onnx_model import RunModel, open_model, run_model, try_model
from pipeline.errors import ConfigError, SampleError
from pipeline.evaluation.against.squares import fill_squares
from pipeline.evaluation.methods import Method, Task
from pipeline.extras import check_extra

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

KEY = "--against"
DTYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8}
MULTIPLE_PX = 8  # of the sides of a photo, for models that take floating point and any size
TRIAL_PX = 256  # side of the trial picture, for models that take any size
SAME = 24.0  # grey levels; a model that was told the hole shows the rest of the trial picture as it is


@dataclass(frozen=True)
class Contract:
    """How a model takes photos and masks, and gives results.

    Args:
        image, mask: names of the inputs.
        dtype: of both; unsigned bytes have the full scale 255, floating point 1.
        side_px: of the squares that it takes; ``None``: any size.
        marks_hole: whether the mask is full scale in the hole, else everywhere else.
        full_scale: of the result.
    """

    image: str
    mask: str
    dtype: type
    side_px: int | None
    marks_hole: bool = True
    full_scale: float = 255.0


def open_onnx(place: str, context: float) -> Method:
    """Open a model, and find out by a trial picture how it takes masks.

    LaMa's exports take floating point, the mask marking the hole, in squares of 512 px. MI-GAN's take bytes of any
    size, the mask marking what is known. The type and sizes are read off the inputs. Which of the two the mask marks,
    and the scale of the result, are those with which a trial picture stays as it is outside its hole.

    Args:
        place: path of the file.
        context: side of a window over the longest side of its hole, for models that take squares.

    Raises:
        ConfigError: the file holds no such model, or keeps weights in other files.
    """
    check_extra("detect", f"{KEY} onnx")
    path = Path(place)
    model = read_model(path, key=KEY)
    is_on_gpu = torch.cuda.is_available() and _has_gpu()
    device = "cuda" if is_on_gpu else "cpu"
    session = open_model(model, path.name, device, KEY, "the GPU for --against onnx", torch.get_num_threads())
    contract = _try(session, _read_inputs(session, path.name), path.name)

    def fill_square(pixels: np.ndarray, hole: np.ndarray, seed: int) -> np.ndarray:
        return _fill(session, contract, pixels, hole)

    def fill(task: Task) -> np.ndarray:
        try:
            if contract.side_px:
                return fill_squares(task, contract.side_px, context, fill_square)
            return _fill(session, contract, task.image, task.mask)
        except RuntimeError as error:
            raise SampleError("inpaint", "ModelFailed", f"{path.name}: {error}") from error

    note = "" if is_on_gpu or not torch.cuda.is_available() else "runs on the CPU, since onnxruntime has no CUDA here"
    return Method(
        fill, parameters=count_parameters(model), weight_bytes=len(model), has_memory=not is_on_gpu, note=note
    )


def _has_gpu() -> bool:
    import onnxruntime

    return "CUDAExecutionProvider" in onnxruntime.get_available_providers()


def _read_inputs(session: "InferenceSession", name: str) -> Contract:
    """Read the inputs: one of three channels and one of one, of the same type and size."""
    inputs = session.get_inputs()
    described = ", ".join(f"{node.name} {node.shape} {node.type}" for node in inputs)
    by_channels = {_channels(node): node for node in inputs}
    if len(inputs) != 2 or by_channels.keys() != {3, 1} or len({node.type for node in inputs} - DTYPES.keys()):
        raise ConfigError(
            f"{KEY}: {name} must take a photo (1, 3, height, width) and a mask (1, 1, height, width), both of floating "
            f"point or unsigned bytes; it takes {described}"
        )
    photo, mask = by_channels[3], by_channels[1]
    sides = {side for node in inputs for side in node.shape[2:] if isinstance(side, int) and side > 0}
    if photo.type != mask.type or len(sides) > 1 or max(sides, default=0) > MAX_SIDE_PX:
        raise ConfigError(
            f"{KEY}: {name} must take photo and mask of one type, and squares of one side of at most {MAX_SIDE_PX} "
            f"px or any size; it takes {described}"
        )
    return Contract(photo.name, mask.name, DTYPES[photo.type], next(iter(sides), None))


def _channels(node: Any) -> int | None:
    """Return the channels of an input; where it leaves them open, a name with ``mask`` in it has one."""
    if len(node.shape) != 4 or (isinstance(node.shape[0], int) and node.shape[0] not in (1, -1)):
        return None
    channels = node.shape[1]
    return channels if isinstance(channels, int) and channels > 0 else 1 if "mask" in node.name.lower() else 3


def _try(session: "InferenceSession", read: Contract, name: str) -> Contract:
    """Find out which mask and which scale keep a trial picture outside its hole; the usual ones of its type first."""
    side = read.side_px or TRIAL_PX
    rows, columns = np.mgrid[0:side, 0:side] / side
    picture = np.stack([64 + 128 * rows, 192 - 128 * columns, 96 + 64 * (rows + columns)], axis=2).astype(np.uint8)
    hole = np.zeros((side, side), bool)
    hole[side * 3 // 8 : side * 5 // 8, side * 3 // 8 : side * 5 // 8] = True
    distances = []
    usual = read.dtype is not np.uint8
    for marks_hole in (usual, not usual):
        for full_scale in (255.0, 1.0):
            contract = Contract(read.image, read.mask, read.dtype, read.side_px, marks_hole, full_scale)
            try:
                filled = _fill(session, contract, picture, hole, try_model)
            except RuntimeError as error:
                raise ConfigError(f"{KEY}: {name} fails on a trial picture: {error}") from error
            distance = float(np.abs(filled[~hole].astype(float) - picture[~hole]).mean())
            if distance <= SAME:
                return contract
            distances.append(distance)
    raise ConfigError(
        f"{KEY}: {name} changes a trial picture outside its hole by {min(distances):.0f} grey levels, whichever way it "
        "is told the hole; it must be a model that fills holes"
    )


def _fill(
    session: "InferenceSession", contract: Contract, pixels: np.ndarray, hole: np.ndarray, run: RunModel = run_model
) -> np.ndarray:
    """Fill a hole, (H, W) bool, of pixels, (H, W, 3) uint8.

    Raises:
        RuntimeError: the model fails, or returns something else than a picture of the same size.
    """
    height, width = hole.shape
    marked = hole == contract.marks_hole
    whole_scale = 255 if contract.dtype is np.uint8 else 1
    photo, mask = pixels.transpose(2, 0, 1), marked[None] * np.float32(255)
    if contract.dtype is not np.uint8:
        padding = [(0, 0), *((0, -side % MULTIPLE_PX) for side in (height, width))]
        photo, mask = np.pad(photo, padding, mode="edge"), np.pad(mask, padding, mode="edge")
    inputs: dict[str, np.ndarray] = {
        name: np.ascontiguousarray(values[None] * np.float32(whole_scale / 255), contract.dtype)
        for name, values in ((contract.image, photo), (contract.mask, mask))
    }
    picture = _picture(run(session, inputs), (3, *photo.shape[1:]))[:, :height, :width]
    return np.clip(np.rint(picture * (255 / contract.full_scale)), 0, 255).astype(np.uint8).transpose(1, 2, 0)


def _picture(outputs: Sequence[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    """Return the first output, (1, 3, H, W), without its batch as float32."""
    values = outputs[0]
    if values.shape not in (shape, (1, *shape)):
        raise RuntimeError(f"the result must be (1, {', '.join(map(str, shape))}), got {values.shape}")
    picture = values.reshape(shape).astype(np.float32)
    if not np.isfinite(picture).all():
        raise RuntimeError("the result holds NaN or infinite values")
    return picture
