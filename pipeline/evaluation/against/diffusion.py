"""Fills of inpainting pipelines of diffusers, such as Stable Diffusion and FLUX.1-Fill, without a prompt."""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from moebius.bench.counting import parameter_count
from pipeline.errors import ConfigError, SampleError
from pipeline.evaluation.against.squares import fill_squares
from pipeline.evaluation.methods import Method, Task, weight_bytes
from pipeline.extras import check_extra

FILLS = ("Inpaint", "Fill")  # in the name of a pipeline that fills holes
DEFAULT_PX = 512


def open_diffusion(place: str, context: float) -> Method:
    """Load a pipeline, with weights only from safetensors; a repository with code of its own is refused.

    Args:
        place: folder, or name on the Hugging Face hub.
        context: side of a window over the longest side of its hole.

    Raises:
        ConfigError: packages are missing, or it cannot be loaded, holds or names code, or does not fill holes.
    """
    check_extra("diffusers", "--against diffusers")
    from diffusers import AutoPipelineForInpainting, DiffusionPipeline
    from diffusers.utils import logging

    from pipeline.evaluation.against.repository import check_files, check_index

    logging.disable_progress_bar()
    on_gpu = torch.cuda.is_available()
    options = {"use_safetensors": True, "trust_remote_code": False}
    try:
        index = DiffusionPipeline.load_config(place)
        check_index(index)  # before anything else is fetched
        folder = place if Path(place).is_dir() else DiffusionPipeline.download(place, **options)
        check_files(Path(folder))
        loader = DiffusionPipeline if any(part in index["_class_name"] for part in FILLS) else AutoPipelineForInpainting
        dtype = torch.bfloat16 if on_gpu else torch.float32
        pipeline = loader.from_pretrained(folder, torch_dtype=dtype, **options)
    except (OSError, ValueError, ImportError, AttributeError, KeyError, RuntimeError) as error:
        message = (str(error).splitlines() or [type(error).__name__])[0]
        raise ConfigError(f"--against diffusers:{place} cannot be loaded: {message}") from error
    return method_of(pipeline.to("cuda" if on_gpu else "cpu"), Path(place).name, context)


def method_of(pipeline: Any, name: str, context: float) -> Method:
    """Return the method that fills with a pipeline.

    Args:
        pipeline: called with ``image``, ``mask_image`` (white = fill), ``height``, ``width`` and ``generator``; with an
            empty ``prompt`` where it takes one, and with its own defaults of everything else.
        name: for messages.
        context: side of a window over the longest side of its hole.

    Raises:
        ConfigError: it takes no mask.
    """
    takes = inspect.signature(pipeline.__call__).parameters
    if missing := {"image", "mask_image", "generator"} - takes.keys():
        raise ConfigError(f"--against diffusers: {name} is no pipeline that fills holes: it takes no {min(missing)}")
    pipeline.set_progress_bar_config(disable=True)
    side_px = _side_px(pipeline)
    fixed: dict[str, Any] = {"prompt": ""} if "prompt" in takes else {}
    fixed |= {key: side_px for key in ("height", "width") if key in takes}

    def fill_square(pixels: np.ndarray, hole: np.ndarray, seed: int) -> np.ndarray:
        mask = Image.fromarray(hole.astype(np.uint8) * 255)
        generator = torch.Generator().manual_seed(seed % (1 << 63))
        made = pipeline(image=Image.fromarray(pixels), mask_image=mask, generator=generator, **fixed)
        if any(getattr(made, "nsfw_content_detected", None) or ()):
            raise SampleError("inpaint", "Refused", f"the safety checker of {name} blacked its result out")
        return np.asarray(made.images[0].convert("RGB").resize((side_px, side_px)))

    def fill(task: Task) -> np.ndarray:
        try:
            return fill_squares(task, side_px, context, fill_square)
        except (RuntimeError, ValueError) as error:
            raise SampleError("inpaint", "ModelFailed", f"{name}: {error}") from error

    models = [part for part in _components(pipeline).values() if isinstance(part, nn.Module)]
    steps = takes["num_inference_steps"].default if "num_inference_steps" in takes else "its own"
    return Method(
        fill,
        parameters=sum(map(parameter_count, models)),
        weight_bytes=sum(map(weight_bytes, models)),
        note=f"squares of {side_px} px, an empty prompt, {steps} steps",
    )


def _components(pipeline: Any) -> Mapping[str, Any]:
    components: Mapping[str, Any] = pipeline.components
    return components


def _side_px(pipeline: Any) -> int:
    """Return the side of the squares that a pipeline was trained for."""
    factor = getattr(pipeline, "vae_scale_factor", 8)
    size = getattr(pipeline, "default_sample_size", None)
    for part in ("unet", "transformer"):
        size = size or getattr(getattr(getattr(pipeline, part, None), "config", None), "sample_size", None)
    return int(size * factor) if isinstance(size, int) else DEFAULT_PX
