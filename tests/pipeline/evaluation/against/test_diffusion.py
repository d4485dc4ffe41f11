"""Pipelines of diffusers: a stand-in, and a tiny one with random weights where transformers is installed."""

import json
from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from pipeline.errors import ConfigError, SampleError
from pipeline.evaluation.against.diffusion import method_of, open_diffusion
from pipeline.evaluation.against.repository import check_files, check_index
from pipeline.evaluation.methods import Task
from tests.conftest import textured

needs_transformers = pytest.mark.skipif(find_spec("transformers") is None, reason="needs the extra diffusers")


@pytest.fixture
def task():
    mask = np.zeros((101, 147), bool)
    mask[20:50, 30:70] = True
    return Task("a.png", "objects", textured(*mask.shape), mask, 0)


class StandIn:
    """Called as pipelines of diffusers are; paints holes in the colour of its noise."""

    default_sample_size, vae_scale_factor = 16, 8

    def __init__(self, refuses=False):
        self.components = {"net": nn.Linear(3, 5), "tokenizer": None}
        self.refuses, self.asked = refuses, []

    def set_progress_bar_config(self, disable):
        assert disable

    def __call__(self, prompt, image, mask_image, height, width, generator, num_inference_steps=7):
        self.asked.append((prompt, image.size, mask_image.mode, height, width))
        colour = torch.randint(0, 256, (3,), generator=generator).tolist()
        made = Image.composite(Image.new("RGB", image.size, tuple(colour)), image, mask_image)
        return SimpleNamespace(images=[made], nsfw_content_detected=[self.refuses])


def test_pipeline_gets_squares_of_its_size_without_a_prompt_and_its_seed(task):
    pipeline = StandIn()
    method = method_of(pipeline, "stand-in", 1.5)
    filled = method.fill(task)
    assert set(pipeline.asked) == {("", (128, 128), "L", 128, 128)}
    assert len(np.unique(filled[task.mask], axis=0)) == 1
    assert np.array_equal(filled[~task.mask], task.image[~task.mask]) and np.array_equal(filled, method.fill(task))
    assert (method.parameters, method.weight_bytes) == (20, 80)
    assert method.note == "squares of 128 px, an empty prompt, 7 steps"


def test_result_that_a_safety_checker_blacked_out_is_a_failure(task):
    with pytest.raises(SampleError, match="safety checker of stand-in"):
        method_of(StandIn(refuses=True), "stand-in", 1.5).fill(task)


def test_pipeline_that_takes_no_mask_is_refused():
    class Other(StandIn):
        def __call__(self, prompt, image, generator):
            raise AssertionError

    with pytest.raises(ConfigError, match="takes no mask_image"):
        method_of(Other(), "other", 1.5)


def tiny_pipeline(folder):
    """Stable Diffusion with inpainting, of random weights and the smallest sizes that it allows."""
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionInpaintPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    torch.manual_seed(0)
    blocks = {"block_out_channels": (32, 64), "norm_num_groups": 32, "sample_size": 32}
    unet = UNet2DConditionModel(
        in_channels=9,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=32,
        attention_head_dim=8,
        layers_per_block=1,
        **blocks,
    )
    kinds = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
    vae = AutoencoderKL(latent_channels=4, **kinds, **blocks)
    words = {"<|startoftext|>": 0, "<|endoftext|>": 1, "a</w>": 2}
    (folder / "vocab.json").write_text(json.dumps(words))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=8)
    text = CLIPTextConfig(
        vocab_size=3,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=8,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    scheduler = DDIMScheduler(beta_schedule="scaled_linear", steps_offset=1, clip_sample=False)
    pipeline = StableDiffusionInpaintPipeline(
        vae, CLIPTextModel(text), tokenizer, unet, scheduler, None, None, requires_safety_checker=False
    )
    pipeline.save_pretrained(folder / "tiny", safe_serialization=True)
    return folder / "tiny"


@needs_transformers
def test_pipeline_of_diffusers_is_loaded_and_fills_holes(task, tmp_path):
    method = open_diffusion(str(tiny_pipeline(tmp_path)), 1.5)
    filled = method.fill(task)
    assert filled.shape == task.image.shape and not np.array_equal(filled[task.mask], task.image[task.mask])
    assert np.array_equal(filled, method.fill(task))
    assert method.parameters > 1e5 and method.note == "squares of 64 px, an empty prompt, 50 steps"


@needs_transformers
def test_pipeline_with_pickled_weights_is_refused(tmp_path):
    folder = tiny_pipeline(tmp_path)
    for path in folder.rglob("*.safetensors"):
        torch.save({}, path.with_name("diffusion_pytorch_model.bin"))
        path.unlink()
    with pytest.raises(ConfigError, match="cannot be loaded"):
        open_diffusion(str(folder), 1.5)


def test_missing_packages_are_named(monkeypatch):
    monkeypatch.setattr("pipeline.extras.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="--against diffusers needs diffusers and transformers: pip install"):
        open_diffusion("nowhere", 1.5)


INDEX = {"_class_name": "StableDiffusionInpaintPipeline", "unet": ["diffusers", "UNet2DConditionModel"]}


@pytest.mark.parametrize(
    ("index", "files", "message"),
    [
        (INDEX | {"_class_name": ["pipeline", "Mine"]}, {}, "_class_name must be the name of a class"),
        (INDEX | {"unet": ["mine", "Net"]}, {}, r"unet must be a class of diffusers or transformers, got \['mine'"),
        (INDEX | {"unet": ["os", "system"]}, {}, "unet must be"),
        (INDEX | {"unet": ["../mine", "Net"]}, {}, "unet must be"),
        (INDEX | {"unet": ["diffusers", "Net", "x"]}, {}, "unet must be"),
        (INDEX, {"mine.py": ""}, "it holds code, mine.py"),
        (INDEX, {"unet/parts/mine.py": ""}, "it holds code, unet/parts/mine.py"),
        (INDEX, {"unet/config.json": '{"auto_map": {"AutoModel": "mine.Net"}}'}, "unet/config.json names code"),
        (INDEX, {"t/tokenizer_config.json": '{"auto_map": {}}'}, "tokenizer_config.json names code"),
        (INDEX, {"unet/config.json": "[]"}, "must hold a JSON object"),
        ({}, {}, "_class_name must be"),
    ],
)
def test_repository_with_code_of_its_own_is_refused_before_anything_is_loaded(
    tmp_path, monkeypatch, index, files, message
):
    for name, text in ({"model_index.json": json.dumps(index)} | files).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr("pipeline.extras.find_spec", lambda name: SimpleNamespace())  # the check needs no transformers
    monkeypatch.setattr("diffusers.DiffusionPipeline.from_pretrained", lambda *args, **options: pytest.fail("loaded"))
    with pytest.raises(ConfigError, match=message):
        open_diffusion(str(tmp_path), 1.5)


def test_code_behind_a_link_to_a_folder_is_found(tmp_path):
    for name in ("real", "folder"):
        (tmp_path / name).mkdir()
    (tmp_path / "real" / "mine.py").write_text("")
    (tmp_path / "folder" / "unet").symlink_to(tmp_path / "real")
    with pytest.raises(ValueError, match="it holds code"):
        check_files(tmp_path / "folder")


def test_indices_of_usual_pipelines_are_accepted():
    checker = ["stable_diffusion", "StableDiffusionSafetyChecker"]  # as older repositories spell it
    parts = {
        "text_encoder": ["transformers", "CLIPTextModel"],
        "safety_checker": checker,
        "image_encoder": [None, None],
    }
    check_index(INDEX | parts | {"_diffusers_version": "0.6.0", "requires_safety_checker": True})
