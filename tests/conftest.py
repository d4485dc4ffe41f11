"""Shared fixtures: golden files, a tiny model on disk, folders of photos, one Ray cluster, one S3 server."""

import os

os.environ["TRITON_INTERPRET"] = "1"  # before anything imports Triton, which reads it then
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # before anything imports Ray: it then keeps to loopback
os.environ.setdefault("OMP_NUM_THREADS", "1")  # two tests at once, each with threads for all cores, starve each other

import io
import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from moebius import Denoiser, MoebiusConfig
from moebius.network.published import published_name
from moebius.weights.untrained import untrained_vae
from tests.joined_cluster import LastingCluster, joined_cluster
from tests.s3_server import s3_server

ROOT = Path(__file__).parent.parent
GOLDEN = ROOT / "tests" / "golden"
TINY_GOLDEN = MoebiusConfig(channels=(32, 64, 128), image_size=128, category_width=96, context_width=48)
TINY = MoebiusConfig(channels=(32, 32), image_size=64, category_width=16, context_width=16)

# Begun first, or one of them would be left over when all others are done; most seconds first.
LONG_FILES = [
    "tests/pipeline/scenarios/test_whose_fault.py",
    "tests/jobs/test_commands.py",
    "tests/pipeline/scenarios/test_formats.py",
    "tests/moebius/train/test_loop.py",
    "tests/pipeline/scenarios/test_run.py",
    "tests/pipeline/export/test_run.py",
    "tests/pipeline/cluster/connection/test_connect.py",
    "tests/pipeline/scenarios/test_drivers.py",
    "tests/pipeline/scenarios/test_node_weights.py",
    "tests/pipeline/scenarios/test_kill_points.py",
    "tests/pipeline/scenarios/test_hostile_shards.py",
    "tests/pipeline/scenarios/test_other_readers.py",
    "tests/moebius/fast/test_gpu.py",
]

sys.path.insert(0, str(GOLDEN))
from recipe import fill  # the recipe is a golden file, kept as it was published


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def rank(item: pytest.Item) -> int:
        name = item.path.relative_to(ROOT).as_posix()
        return LONG_FILES.index(name) if name in LONG_FILES else len(LONG_FILES)

    items.sort(key=rank)


def golden_state_dict(name: str) -> dict[str, torch.Tensor]:
    lines = (GOLDEN / f"{name}.keys.tsv").read_text().splitlines()
    entries = (line.split("\t") for line in lines)
    return {key: fill(key, tuple(map(int, shape.split("x"))) if shape else ()) for key, shape in entries}


def golden(name: str) -> dict[str, torch.Tensor]:
    return load_file(GOLDEN / f"{name}.safetensors")


def relative_error(actual: torch.Tensor, expected: torch.Tensor) -> float:
    return float((actual - expected).abs().max() / expected.abs().max())


@pytest.fixture(scope="session")
def tiny_golden_state() -> dict[str, torch.Tensor]:
    return golden_state_dict("unet_tiny")


def write_tiny_weights(folder: Path) -> None:
    """A folder as users keep their own weights in: a checkpoint with published keys, its sizes, an autoencoder."""
    names = Denoiser(TINY).state_dict()
    state = {published_name(name): fill(published_name(name), value.shape) for name, value in names.items()}
    save_file(state, folder / "diffusion_pytorch_model.safetensors")
    (folder / "config.json").write_text(json.dumps(asdict(TINY)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        untrained_vae().save_pretrained(folder / "vae")


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    write_tiny_weights(folder)
    return folder


def textured(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A photo-like (H, W, 3) uint8 picture: smooth colours and some noise."""
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:height, 0:width]
    smooth = np.stack([rows * 255 // max(height, 1), columns * 255 // max(width, 1), (rows + columns) % 256], axis=2)
    return np.clip(smooth + generator.normal(0, 12, smooth.shape), 0, 255).astype(np.uint8)


def saved(image: Image.Image, container: str = "PNG", **options) -> bytes:
    """The file that Pillow writes of an image."""
    file = io.BytesIO()
    image.save(file, container, **options)
    return file.getvalue()


def planned_sample(name: str, **fields) -> dict:
    """A sample as a plan has it, with the fields of ``SAMPLE_SCHEMA``: a file with a mask of the same name."""
    plain = {"sample_id": name, "input_version": "", "size_bytes": 10, "file": name, "locator": None}
    plain |= {"mask_key": name, "mask_bytes": None, "mask_spec": None, "fault": None}
    plain |= {"mask_review": None, "carried": None}
    return {**plain, **fields}


def make_photos(folder: Path, count: int = 6, height: int = 80, width: int = 96) -> tuple[Path, Path]:
    """PNG photos and masks with one square hole each; returns both folders."""
    photos, masks = folder / "photos", folder / "masks"
    photos.mkdir(parents=True)
    masks.mkdir()
    for index in range(count):
        Image.fromarray(textured(height, width, index)).save(photos / f"{index:03}.png")
        mask = np.zeros((height, width), np.uint8)
        mask[20:40, 30:60] = 255
        Image.fromarray(mask).save(masks / f"{index:03}.png")
    return photos, masks


@pytest.fixture(scope="session")
def ray_cluster():
    from pipeline.cluster.connection.connect import connected

    with connected("local"):
        yield


@pytest.fixture(scope="session")
def lasting_cluster():
    with LastingCluster() as cluster:
        yield cluster


@pytest.fixture(name="joined_cluster")
def _joined_cluster(lasting_cluster):
    """Two nodes, which the driver of a test joins by ``run.address``."""
    return lasting_cluster.living()


@pytest.fixture(scope="module")
def mounted_cluster():
    """Two nodes, the second of which has its own mounts: see ``bind_empty`` and ``bind_read_only``."""
    if os.geteuid():
        pytest.skip("only root may give a node its own mounts")
    with joined_cluster(own_mounts=True) as cluster:
        yield cluster


def run_cli(*arguments: str | Path, env: dict[str, str] | None = None, **options) -> subprocess.CompletedProcess[str]:
    """``python -m jobs.COMMAND …`` in a process of its own, as users start it."""
    command, *rest = map(str, arguments)
    return subprocess.run(
        [sys.executable, "-m", f"jobs.{command}", *rest],
        cwd=ROOT,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        check=False,
        **options,
    )


@pytest.fixture(scope="session", name="s3_server")
def _s3_server(tmp_path_factory):
    with s3_server(tmp_path_factory.mktemp("s3")) as options:
        yield options
