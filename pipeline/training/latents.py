"""Latents of crops and of crops with a hole: encoded once into Parquet files, and streamed from there.

``latents.json`` beside the files names the source, the settings, and the autoencoder by a hash of its weights; it is
written when all are there.
"""

import hashlib
import json
import logging
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import nn

from moebius.autoencoder.vae import Autoencoder, encode_pairs
from moebius.network.functional import latent_mask
from moebius.train.data.source import Crops, EncodedCrops
from pipeline.config.source import SourceConfig
from pipeline.errors import ConfigError
from pipeline.storage.storage import Storage
from pipeline.storage.watched import watching
from pipeline.training.crops import EncodedSample, packed
from pipeline.training.job import StreamSettings
from pipeline.training.order import SampleOrder
from pipeline.training.stream import StreamedSource

META = "latents.json"
SHARD_SAMPLES = 1024
ENCODED_AT_ONCE = 16  # pairs, which bounds memory at the published size
POSITION = b"position"  # behind the samples of a file, in its metadata

logger = logging.getLogger(__name__)


def weights_hash(model: nn.Module) -> str:
    """Return a hash of the weights of a model."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().float().contiguous().numpy().tobytes())
    return digest.hexdigest()


class LatentStream(StreamedSource):
    """A source of encoded crops; examples come from the photos.

    Args:
        order: the order of the files of latents.
        photos: the stream that was encoded.
    """

    def __init__(self, order: SampleOrder, photos: StreamedSource) -> None:
        super().__init__(order)
        self.photos = photos

    def batch(self, batch_index: int, count: int) -> EncodedCrops:
        """See :class:`moebius.train.data.source.CropSource`."""
        samples = [sample for sample in self.take(count) if isinstance(sample, EncodedSample)]
        clean, masked = torch.from_numpy(np.stack([sample.pair for sample in samples])).float().unbind(1)
        return EncodedCrops(
            clean,
            masked,
            torch.from_numpy(np.stack([sample.hole for sample in samples])).float()[:, None],
            torch.tensor([sample.seed for sample in samples]),
            torch.tensor([sample.is_object for sample in samples]),
        )

    def examples(self, count: int) -> Crops:
        """See :class:`moebius.train.data.source.CropSource`."""
        return self.photos.examples(count)


class LatentFolder:
    """A folder of latents.

    Args:
        storage: the folder.
        photos: the stream whose latents it holds.
        vae: the autoencoder, on its device.
        latent_size: side of the latents, in positions.
        count: number of pairs of a crop and a hole.
    """

    def __init__(
        self, storage: Storage, photos: StreamedSource, vae: Autoencoder, latent_size: int, count: int
    ) -> None:
        self.storage, self.photos, self.vae, self.latent_size, self.count = storage, photos, vae, latent_size, count
        wanted = {"autoencoder": weights_hash(vae), "samples": count, **photos.order.settings.deciding_keys()}
        self.wanted: dict[str, Any] = json.loads(json.dumps(wanted))  # as it is read again

    def is_complete(self) -> bool:
        """Return whether the latents are there.

        Raises:
            ConfigError: there are others, or their settings are damaged.
        """
        try:
            data = self.storage.read(META)
        except FileNotFoundError:
            return False
        try:
            made_with = _object(data)
        except ValueError as error:
            raise self._damaged(META, error) from error
        self._check(made_with)
        return True

    def encode(self) -> None:
        """Encode what is not there yet; files of an interrupted run stay.

        Raises:
            ConfigError: files of a run of other settings.
        """
        done, number = 0, 0
        while self.storage_has(number):
            rows, position, made_with = self._read_end(number)
            self._check(made_with)
            done, number = done + rows, number + 1
            self.photos.resume(position)
        while done < self.count:
            rows = min(SHARD_SAMPLES, self.count - done)
            self._write(number, rows)
            done, number = done + rows, number + 1
            logger.info("latents: %d of %d pairs are encoded", done, self.count)
        self.storage.write(META, json.dumps(self.wanted, indent=1).encode())

    def _check(self, made_with: Mapping[str, Any]) -> None:
        """Refuse latents of other settings; a key that is not recorded has its default.

        Raises:
            ConfigError: naming the key.
        """
        for key in {**self.wanted, **made_with}:
            before, now = made_with.get(key, "the default"), self.wanted.get(key, "the default")
            if before != now:
                raise ConfigError(
                    f"latents: those in {self.storage} were made with {key}={before}, now it is {now}: choose another "
                    "folder, or delete it"
                )

    def stream(self, uri: str, rank: int, world: int) -> LatentStream:
        """Open the stream of one process."""
        settings = self.photos.order.settings
        latents = StreamSettings(
            SourceConfig(format="parquet", uri=uri, image="pair", key="name"),
            None,
            settings.size_px,
            settings.kinds,
            shuffle=settings.shuffle,
            seed=settings.seed,
            storage=settings.storage,
            latent_shape=(self.vae.config.latent_channels, self.latent_size),
        )
        return LatentStream(SampleOrder(latents, rank, world), self.photos)

    def storage_has(self, number: int) -> bool:
        """Return whether a file of latents is there."""
        try:
            self.storage.stat(_name(number))
        except FileNotFoundError:
            return False
        return True

    def _read_end(self, number: int) -> tuple[int, dict[str, int], dict[str, Any]]:
        """Return the number of pairs of a file, the position behind them, and the settings it was made with.

        Raises:
            ConfigError: the file is damaged, or not one of latents.
        """
        name = _name(number)
        with self.storage.open(name) as file, watching(file, partial(self._damaged, name), KeyError) as watched:
            footer = pq.read_metadata(watched)
            metadata = footer.metadata or {}
            return footer.num_rows, _object(metadata[POSITION]), _object(metadata[META.encode()])

    def _damaged(self, name: str, _: Exception) -> ConfigError:
        return ConfigError(
            f"latents: {self.storage.uri(name)} is no file of latents, or is damaged: delete it to encode anew from "
            "there on, or choose another folder"
        )

    @torch.no_grad()
    def _write(self, number: int, rows: int) -> None:
        pairs: list[bytes] = []
        while len(pairs) < rows:
            crops = self.photos.batch(0, min(ENCODED_AT_ONCE, rows - len(pairs)))
            assert isinstance(crops, Crops)
            pairs += self._encoded(crops)
        names = [f"{number:06}-{row:04}" for row in range(rows)]
        table = pa.table({"name": names, "pair": pa.array(pairs, pa.binary())})
        position = json.dumps(self.photos.state()).encode()
        table = table.replace_schema_metadata({POSITION: position, META: json.dumps(self.wanted)})
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="NONE", row_group_size=128, use_dictionary=False)
        self.storage.write(_name(number), sink.getvalue().to_pybytes())

    def _encoded(self, crops: Crops) -> list[bytes]:
        shape = (2, 1, self.vae.config.latent_channels, self.latent_size, self.latent_size)
        generators = [torch.Generator().manual_seed(seed) for seed in crops.seeds.tolist()]
        noise = torch.cat([torch.randn(shape, generator=generator) for generator in generators], dim=1)
        device: Any = next(self.vae.parameters()).device
        pairs = encode_pairs(self.vae, crops.images.to(device), crops.masks.to(device), noise.to(device))
        values = torch.stack(pairs, dim=1).half().cpu().numpy()
        holes = latent_mask(crops.masks, self.latent_size).bool().numpy()[:, 0]
        return [packed(*sample) for sample in zip(values, holes, crops.objects.tolist(), strict=True)]


def _object(data: bytes) -> dict[str, Any]:
    """Parse a JSON object.

    Raises:
        ValueError: it is none.
    """
    value = json.loads(data)
    if not isinstance(value, dict):
        raise ValueError(f"expected a JSON object, got {type(value).__name__}")
    return value


def _name(number: int) -> str:
    return f"{number:06}.parquet"
