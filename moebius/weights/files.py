"""Weights by name: find or fetch the files of a model, hash them, build it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from moebius.autoencoder.vae import check_latents, load_vae
from moebius.checkpoint import CheckpointError
from moebius.network.averaged_file import company_of
from moebius.network.config import MoebiusConfig
from moebius.network.denoiser import Denoiser
from moebius.network.published import load_denoiser
from moebius.weights.hub import HUB, HUB_GUIDANCE, HUB_WEIGHTS, HubError, HubFolder
from moebius.weights.untrained import UNTRAINED_CONFIG, untrained_model

if TYPE_CHECKING:
    from moebius.autoencoder.vae import Autoencoder

HUB_VAE = "hf://hustvl/PixelHacker/vae"
CONFIG = "config.json"
NANO_FOLDER = Path(__file__).parent.parent / "nano"
CHECKPOINT_NAMES = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")


class WeightsUnavailableError(OSError):
    """The weights are not on this machine and cannot be fetched; the message says which file goes where."""


@dataclass(frozen=True)
class Weights:
    """Files of one model.

    Args:
        name: name or path that was asked for.
        config: sizes of the denoiser, and the guidance that is recommended for it.
        denoiser: checkpoint file; ``None`` for the untrained stand-in, which is drawn from a fixed seed.
        vae: folder of the autoencoder; ``None`` for the untrained stand-in.
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
        """Identity of the model: equal for equal files, wherever they are; ``untrained-…`` for the stand-in."""
        sizes = dataclasses.asdict(self.config)
        del sizes["guidance"]  # a recommendation, not a property of the files
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
    :class:`MoebiusConfig`. Averaged weights of the published trainer, ``….EMA.bin``, are named as a file.

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
    if name_or_path.startswith(HUB):
        denoiser = _fetch_with_company(name_or_path)
    elif name_or_path == "nano":
        denoiser = _checkpoint_in(NANO_FOLDER)
    elif name_or_path not in HUB_WEIGHTS:
        denoiser = _checkpoint_in(Path(name_or_path))
    elif by_hand.is_dir():
        denoiser = _checkpoint_in(by_hand)
    else:
        denoiser = _fetch_checkpoint(HubFolder.from_uri(HUB_WEIGHTS[name_or_path]), CHECKPOINT_NAMES, f"{by_hand}/")
    vae = _vae_near(denoiser) or _fetch_vae()
    return Weights(name_or_path, _config_near(denoiser, name_or_path), denoiser, vae, _hashes(denoiser, vae))


def weights_home() -> Path:
    """Return the folder of weights that were put there by hand: ``$MOEBIUS_HOME``, else ``~/.cache/moebius``."""
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
    return next((folder for folder in folders if (folder / CONFIG).is_file()), None)


def read_config(path: Path) -> MoebiusConfig:
    """Read the sizes of a model from JSON.

    Raises:
        CheckpointError: unreadable, or with fields or values that :class:`MoebiusConfig` does not take.
    """
    try:
        return MoebiusConfig(**json.loads(path.read_text()))
    except (OSError, TypeError, ValueError) as error:
        names = ", ".join(field.name for field in dataclasses.fields(MoebiusConfig))
        raise CheckpointError(f"{path} must be JSON with fields of the model ({names}): {error}") from error


def _config_near(denoiser: Path, name: str) -> MoebiusConfig:
    path = denoiser.parent / CONFIG
    if path.is_file():
        return read_config(path)
    return MoebiusConfig(guidance=HUB_GUIDANCE.get(name, MoebiusConfig.guidance))


def _fetch_with_company(uri: str) -> Path:
    """Fetch a checkpoint of the hub and, where it has them, its sizes and its autoencoder beside it."""
    target = "a folder of yours, and name that as the weights"
    names: Sequence[str] = CHECKPOINT_NAMES
    try:
        folder = HubFolder.from_uri(uri)
    except ValueError as error:
        raise CheckpointError(str(error)) from error
    if folder.path.suffix in (".bin", ".safetensors"):
        folder, names = dataclasses.replace(folder, path=folder.path.parent), [folder.path.name]
    denoiser = _fetch_checkpoint(folder, names, target)
    _fetch(folder, [CONFIG], target)
    for path in (folder.path / "vae", folder.path.parent / "vae"):
        vae = dataclasses.replace(folder, path=path)
        if _fetch(vae, [CONFIG], target):
            _fetch_checkpoint(vae, CHECKPOINT_NAMES, target)
            break
    return denoiser


def _fetch_vae() -> Path:
    vae, target = HubFolder.from_uri(HUB_VAE), f"{weights_home() / 'vae'}/"
    _fetch(vae, [CONFIG], target)
    return _fetch_checkpoint(vae, CHECKPOINT_NAMES, target).parent


def _fetch_checkpoint(folder: HubFolder, names: Sequence[str], target: str) -> Path:
    if path := _fetch(folder, names, target):
        return path
    raise CheckpointError(f"{folder} holds no {' or '.join(names)}")


def _fetch(folder: HubFolder, names: Sequence[str], target: str) -> Path | None:
    """Fetch the first of some files that exists; an error says which one to put where by hand."""
    try:
        return folder.fetch(names)
    except HubError as error:
        raise WeightsUnavailableError(
            f"cannot fetch {names[-1]} from {folder} ({error}). On a machine with network, download {names[-1]} from "
            f"{folder.page} and put it into {target}"
        ) from error


def _hashes(denoiser: Path, vae: Path) -> dict[str, str]:
    files = {denoiser.name: denoiser}
    if (company := company_of(denoiser)) and company.is_file():
        files[company.name] = company
    files |= {f"vae/{path.name}": path for path in sorted(vae.iterdir()) if path.name in (CONFIG, *CHECKPOINT_NAMES)}
    return {name: _sha256(path) for name, path in files.items()}


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
