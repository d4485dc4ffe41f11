"""Weights by name: find or fetch the files of a model, hash them, build it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from moebius.checkpoint import CheckpointError, load_denoiser
from moebius.config import MoebiusConfig
from moebius.denoiser import Denoiser
from moebius.settings import HUB_WEIGHTS
from moebius.untrained import UNTRAINED_CONFIG, untrained_model
from moebius.vae import check_latents, load_vae

if TYPE_CHECKING:
    from moebius.vae import Autoencoder

HUB_VAE = "hf://hustvl/PixelHacker/vae"
NANO_FOLDER = Path(__file__).parent / "nano"
CHECKPOINT_NAMES = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")


class WeightsUnavailableError(OSError):
    """Weights that are neither on this machine nor to be fetched; the message says which file goes where."""


@dataclass(frozen=True)
class Weights:
    """The files of one model.

    Args:
        name: as asked for.
        config: sizes of the denoiser.
        denoiser: checkpoint file; ``None`` for the untrained stand-in, which is drawn from a fixed seed.
        vae: folder of the autoencoder; ``None`` likewise.
        sha256: hash of each file, by its name.
    """

    name: str
    config: MoebiusConfig
    denoiser: Path | None = None
    vae: Path | None = None
    sha256: Mapping[str, str] = field(default_factory=dict)

    @property
    def trained(self) -> bool:
        """False for the stand-in with random weights."""
        return self.denoiser is not None

    @property
    def fingerprint(self) -> str:
        """Identity of the model: equal for equal files, wherever they lie; ``untrained-…`` for the stand-in."""
        sizes = dataclasses.asdict(self.config)
        if self.config.latent_channels == MoebiusConfig.latent_channels:
            del sizes["latent_channels"]  # models of this kind were known before there was another
        identity = json.dumps([sizes, sorted(self.sha256.values())], sort_keys=True)
        digest = hashlib.sha256(identity.encode()).hexdigest()[:16]
        return digest if self.trained else f"untrained-{digest}"

    def load(self) -> tuple[Denoiser, Autoencoder]:
        """Build the denoiser and the autoencoder in evaluation mode.

        Raises:
            CheckpointError: a file that does not fit.
        """
        if self.denoiser is None or self.vae is None:
            return untrained_model()
        denoiser, vae = load_denoiser(self.denoiser, self.config), load_vae(self.vae)
        check_latents(vae, self.config)
        return denoiser, vae


def find_weights(name_or_path: str) -> Weights:
    """Find the files of a model, fetching them once from the Hugging Face hub where needed.

    A folder holds ``diffusion_pytorch_model.safetensors`` or ``.bin``, the autoencoder in ``vae/`` (inside it or beside
    it, else the published one is used) and, for other than the published sizes, ``config.json`` with the fields of
    :class:`MoebiusConfig`.

    Args:
        name_or_path: ``nano``, our small model; ``untrained``, a stand-in with random weights; a key of
            ``HUB_WEIGHTS``, ``hf://owner/repository/folder``, a folder or a file.

    Raises:
        WeightsUnavailableError: not on this machine and not to be fetched.
        CheckpointError: a folder without a checkpoint, or a ``config.json`` with unknown fields.
    """
    if name_or_path == "untrained":
        return Weights(name_or_path, UNTRAINED_CONFIG)
    by_hand = weights_home() / name_or_path
    if name_or_path.startswith("hf://"):
        denoiser = _fetch(name_or_path, CHECKPOINT_NAMES, "a folder of yours, and name that as the weights")
    elif name_or_path == "nano":
        denoiser = _checkpoint_in(NANO_FOLDER)
    elif name_or_path not in HUB_WEIGHTS:
        denoiser = _checkpoint_in(Path(name_or_path))
    elif by_hand.is_dir():
        denoiser = _checkpoint_in(by_hand)
    else:
        denoiser = _fetch(HUB_WEIGHTS[name_or_path], CHECKPOINT_NAMES, f"{by_hand}/")
    vae = _vae_near(denoiser) or _fetch_vae()
    return Weights(name_or_path, _config_near(denoiser), denoiser, vae, _hashes(denoiser, vae))


def weights_home() -> Path:
    """Where weights put by hand are looked for: ``$MOEBIUS_HOME``, else ``~/.cache/moebius``."""
    return Path(os.environ.get("MOEBIUS_HOME", "~/.cache/moebius")).expanduser()


def _checkpoint_in(path: Path) -> Path:
    if path.is_file():
        return path
    candidates = [path / name for name in CHECKPOINT_NAMES]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    names = ", ".join(["nano", "untrained", *HUB_WEIGHTS])
    raise CheckpointError(
        f"weights must be one of {names}, hf://…, a file, or a folder with {' or '.join(CHECKPOINT_NAMES)}; "
        f"found none at {path}"
    )


def _vae_near(denoiser: Path) -> Path | None:
    folders = (denoiser.parent / "vae", denoiser.parent.parent / "vae", weights_home() / "vae")
    return next((folder for folder in folders if (folder / "config.json").is_file()), None)


def read_config(path: Path) -> MoebiusConfig:
    """Sizes of a model from JSON.

    Raises:
        CheckpointError: unreadable, or with fields or values that :class:`MoebiusConfig` does not take.
    """
    try:
        return MoebiusConfig(**json.loads(path.read_text()))
    except (OSError, TypeError, ValueError) as error:
        names = ", ".join(field.name for field in dataclasses.fields(MoebiusConfig))
        raise CheckpointError(f"{path} must be JSON with fields of the model ({names}): {error}") from error


def _config_near(denoiser: Path) -> MoebiusConfig:
    path = denoiser.parent / "config.json"
    return read_config(path) if path.is_file() else MoebiusConfig()


def _fetch(uri: str, names: tuple[str, ...], target: str) -> Path:
    """Download the first of ``names`` that exists in a hub folder; the hub's client caches it."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError

    owner, _, rest = uri.removeprefix("hf://").partition("/")
    repository, *folder = rest.strip("/").split("/")
    if not repository:
        raise CheckpointError(f"hub weights are hf://owner/repository/folder, got {uri}")
    if folder and Path(folder[-1]).suffix in (".bin", ".safetensors"):
        names = (folder.pop(),)
    reason: Exception | None = None
    for name in names:
        try:
            return Path(hf_hub_download(f"{owner}/{repository}", "/".join([*folder, name])))
        except LocalEntryNotFoundError as error:
            reason = error
            break
        except EntryNotFoundError as error:
            reason = error
        except (HfHubHTTPError, OSError) as error:
            reason = error
            break
    page = f"https://huggingface.co/{owner}/{repository}/tree/main/{'/'.join(folder)}"
    raise WeightsUnavailableError(
        f"cannot fetch {names[-1]} from {uri} ({type(reason).__name__}). On a machine with network, download "
        f"{names[-1]} from {page} and put it into {target}"
    ) from reason


def _fetch_vae() -> Path:
    target = f"{weights_home() / 'vae'}/"
    _fetch(HUB_VAE, ("config.json",), target)
    return _fetch(HUB_VAE, CHECKPOINT_NAMES, target).parent


def _hashes(denoiser: Path, vae: Path) -> dict[str, str]:
    files = {denoiser.name: denoiser}
    files |= {
        f"vae/{path.name}": path for path in sorted(vae.iterdir()) if path.name in ("config.json", *CHECKPOINT_NAMES)
    }
    return {name: _sha256(path) for name, path in files.items()}


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
