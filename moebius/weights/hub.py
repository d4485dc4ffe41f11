"""Folders of the Hugging Face hub: files are fetched once and found without a network afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

HUB = "hf://"
HUB_WEIGHTS = {
    "places2": "hf://hustvl/Moebius/ft_places2",
    "celebahq": "hf://hustvl/Moebius/ft_celebahq",
    "ffhq": "hf://hustvl/Moebius/ft_ffhq",
    "pretrained": "hf://hustvl/Moebius/pretrained",
}
HUB_GUIDANCE = {"places2": 2.5}  # the best in the tables of the paper, where it is not the usual 2.0


class HubError(OSError):
    """The file is not in the cache and cannot be fetched; the message says why in a few words."""


@dataclass(frozen=True)
class HubFolder:
    """Folder of a repository of models.

    Args:
        repository: ``owner/name``.
        path: path inside the repository.
    """

    repository: str
    path: PurePosixPath

    @classmethod
    def from_uri(cls, uri: str) -> HubFolder:
        """Parse ``hf://owner/name/path``.

        Raises:
            ValueError: anything else.
        """
        owner, *parts = uri.removeprefix(HUB).strip("/").split("/")
        if not owner or not parts:
            raise ValueError(f"hub weights are hf://owner/repository/folder, got {uri}")
        return cls(f"{owner}/{parts[0]}", PurePosixPath(*parts[1:]))

    def __str__(self) -> str:
        return f"{HUB}{PurePosixPath(self.repository, self.path)}"

    @property
    def page(self) -> str:
        """Web page of the folder."""
        return f"https://huggingface.co/{PurePosixPath(self.repository, 'tree', 'main', self.path)}"

    def fetch(self, names: Sequence[str]) -> Path | None:
        """Fetch the first of some files that exists; ``None``: none does.

        Raises:
            HubError: it cannot be fetched.
        """
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import (
            EntryNotFoundError,
            HFValidationError,
            LocalEntryNotFoundError,
            RepositoryNotFoundError,
        )

        for name in names:
            try:
                return Path(hf_hub_download(self.repository, str(self.path / name)))
            except LocalEntryNotFoundError as error:
                return self._fetched_before(names, error)
            except EntryNotFoundError:
                continue
            except (RepositoryNotFoundError, HFValidationError) as error:
                raise HubError("no such repository, or one that HF_TOKEN does not open") from error
            except Exception as error:  # its network clients have errors of their own
                raise HubError(type(error).__name__) from error
        return None

    def _fetched_before(self, names: Sequence[str], reason: Exception) -> Path | None:
        from huggingface_hub import _CACHED_NO_EXIST, try_to_load_from_cache

        found = [try_to_load_from_cache(self.repository, str(self.path / name)) for name in names]
        if files := [Path(file) for file in found if isinstance(file, str)]:
            return files[0]
        if all(file is _CACHED_NO_EXIST for file in found):
            return None
        raise HubError("the hub does not answer") from reason
