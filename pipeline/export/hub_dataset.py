"""``hf``: a data set repository of the Hugging Face hub."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from pipeline.errors import ConfigError
from pipeline.export.base import TargetConflictError
from pipeline.export.image_dataset import CARD, ImageDataset, Listed
from pipeline.export.parquet_files import OWN_FILE
from pipeline.storage.errors import answering
from pipeline.uris import public_text

SCHEME = "hf://datasets/"
READ_BYTES = 4 << 20  # of a file at once
MAX_IN_MEMORY_BYTES = 16 << 20  # of a file, which the hub may want within the commit rather than as a large file
_HIDDEN = (".gitattributes", CARD)
_CONFLICT = 412


class HubStore:
    """A data set repository; see :class:`pipeline.export.image_dataset.Store`.

    Files are uploaded one by one and belong to no version until one commit adds, deletes and lists files.

    Args:
        repository: ``OWNER/NAME``.
        options: ``token`` and ``endpoint``; by default those of ``huggingface_hub``.
    """

    def __init__(self, repository: str, options: Mapping[str, Any]) -> None:
        from huggingface_hub import HfApi, HfFileSystem

        self.repository, self.uri = repository, f"{SCHEME}{repository}"
        given = {name: options[name] for name in ("token", "endpoint") if name in options}
        self.api, self.files = HfApi(**given), HfFileSystem(**given)
        self.revision: str | None = None
        self.uploaded: list[Any] = []

    def read_card(self) -> str | None:
        """Read the card, and note the commit that it is of."""
        from huggingface_hub.errors import RepositoryNotFoundError

        try:
            with _hub():
                self.revision = self.api.repo_info(self.repository, repo_type="dataset").sha
        except RepositoryNotFoundError:
            return None
        try:
            with self.open(CARD) as file:
                return file.read().decode()
        except FileNotFoundError:
            return None

    def foreign_file(self) -> str | None:
        """Return the name of a file that is neither an export's nor the hub's own."""
        return next((name for name in self._names() if name not in _HIDDEN and not OWN_FILE.fullmatch(name)), None)

    def open(self, name: str) -> IO[bytes]:
        """Open a file of the noted commit."""
        with _hub():
            path = f"datasets/{self.repository}@{self.revision}/{name}"
            return self.files.open(path, "rb", block_size=READ_BYTES)

    def put(self, name: str, path: str) -> None:
        """Upload a file; no commit holds it yet."""
        from huggingface_hub import CommitOperationAdd

        if self.revision is None:
            self._create()
        is_small = Path(path).stat().st_size <= MAX_IN_MEMORY_BYTES
        addition = CommitOperationAdd(name, Path(path).read_bytes() if is_small else path)
        with _hub():
            self.api.preupload_lfs_files(self.repository, [addition], repo_type="dataset")
        self.uploaded.append(addition)

    def commit(self, card: str, listed: Listed) -> str:
        """Commit the card with all files."""
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        wanted = {*listed.files}
        gone = [name for name in self._names() if OWN_FILE.fullmatch(name) and name not in wanted]
        with _hub():
            commit = self.api.create_commit(
                self.repository,
                [
                    *(addition for addition in self.uploaded if addition.path_in_repo in wanted),
                    *map(CommitOperationDelete, gone),
                    CommitOperationAdd(CARD, card.encode()),
                ],
                commit_message=f"moebius export {listed.stamp.version}",
                repo_type="dataset",
                parent_commit=self.revision,
            )
        self.revision, self.uploaded = commit.oid, []
        return f"commit {commit.oid[:12]}"

    def purge(self) -> None:
        """Make the current commit the only one, and delete the large files that it does not hold."""
        with _hub():
            self.api.super_squash_history(self.repository, repo_type="dataset")
            tree = self.api.list_repo_tree(self.repository, repo_type="dataset", recursive=True)
            held = {large.sha256 for file in tree if (large := getattr(file, "lfs", None))}
            stored = self.api.list_lfs_files(self.repository, repo_type="dataset")
            if unneeded := [file for file in stored if file.oid not in held]:
                self.api.permanently_delete_lfs_files(self.repository, unneeded, repo_type="dataset")

    def _names(self) -> list[str]:
        if self.revision is None:
            return []
        with _hub():
            return self.api.list_repo_files(self.repository, repo_type="dataset", revision=self.revision)

    def _create(self) -> None:
        """Create the repository, private until its owner decides otherwise."""
        with _hub():
            self.api.create_repo(self.repository, repo_type="dataset", private=True, exist_ok=True)
            self.revision = self.api.repo_info(self.repository, repo_type="dataset").sha


class HubDataset(ImageDataset):
    """A data set repository, ``hf://datasets/OWNER/NAME``; see :class:`pipeline.export.base.Target`."""

    has_versions = True

    def __init__(self, uri: str, options: Mapping[str, Any]) -> None:
        repository = uri.removeprefix(SCHEME)
        if not uri.startswith(SCHEME) or repository.count("/") != 1 or "@" in repository:
            raise ConfigError(f"TARGET on the Hugging Face hub must be {SCHEME}OWNER/NAME, got {uri!r}")
        self.hub = HubStore(repository, options)
        super().__init__(self.hub)

    def __enter__(self) -> "HubDataset":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def purge(self) -> None:
        """Delete earlier commits, and the files that only they hold."""
        if self.listed:
            self.hub.purge()


@contextlib.contextmanager
def _hub() -> Iterator[None]:
    """Raise errors of the hub as those of a storage, without secrets."""
    from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

    try:
        with answering():
            yield
    except RepositoryNotFoundError:
        raise
    except HfHubHTTPError as error:
        if error.response is not None and error.response.status_code == _CONFLICT:
            raise TargetConflictError("another program has changed the data set; run the command again") from error
        raise OSError(public_text(str(error))) from error
