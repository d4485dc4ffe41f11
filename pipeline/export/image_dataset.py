"""A data set of Parquet files whose card, ``README.md``, lists the files that count: replacing the card is the commit.

``datasets.load_dataset`` reads exactly the files that the card lists, and shows the images. Files that no card lists
are remains of exports that were killed.
"""

import json
from collections.abc import Iterator, Mapping
from typing import IO, Any, NamedTuple, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.export.base import EXPORTED, MARK, Changes, Committed, Stamp, State, foreign
from pipeline.export.columns import IMAGE
from pipeline.export.parquet_files import OWN_FILE, DataFile, kept_rows, write_files

CARD = "README.md"
CONFIG, SPLIT = "default", "train"
_STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])  # as Hugging Face stores images
_FEATURES = {b"huggingface": json.dumps({"info": {"features": {IMAGE: {"_type": "Image"}}}}).encode()}
_TEXT = """
# {title}

Images that were inpainted with the Moebius pipeline; one row each.

`moebius export` writes the files in `data/` and the list of them in the head of this page. Text here may be edited.
"""


class Listed(NamedTuple):
    """The list of files in a card.

    Args:
        stamp: of the export.
        files: names of the files that count.
    """

    stamp: Stamp
    files: list[str]


class Store(Protocol):
    """Where a data set is kept."""

    @property
    def uri(self) -> str:
        """URI of the place."""

    def read_card(self) -> str | None:
        """Read the card, and note its version; ``None`` if there is none."""

    def foreign_file(self) -> str | None:
        """Return the name of a file that neither an export nor the storage itself has written, if there is one."""

    def open(self, name: str) -> IO[bytes]:
        """Open a file."""

    def put(self, name: str, path: str) -> None:
        """Take a local file, without showing it to readers."""

    def commit(self, card: str, listed: Listed) -> str:
        """Replace the card, and delete files that it does not list; return the name of the version.

        Args:
            card: its text.
            listed: what it says.

        Raises:
            TargetConflictError, LeaseHeldError: another program has changed the data set meanwhile.
        """


class ImageDataset:
    """The card and the files of a data set; see :class:`pipeline.export.base.Target`.

    Args:
        store: where they are.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.card: str | None = None
        self.listed: Listed | None = None

    def state(self) -> State | None:
        """Return the state of the earlier export."""
        self.card = self.store.read_card()
        self.listed = None if self.card is None else parse_card(self.card)
        if self.listed is None:
            if other := self.store.foreign_file():
                raise foreign(self.store.uri, f"{other}, but no export")
            return None
        if strange := next((name for name in self.listed.files if not OWN_FILE.fullmatch(name)), None):
            raise foreign(self.store.uri, f"a {CARD} that lists {strange!r}, which no export has written")
        with self.store.open(self.listed.files[0]) as file:
            return State(self.listed.stamp.sink, _own_schema(pq.read_schema(file)))

    def exported(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows of the earlier export."""
        for name in self.listed.files if self.listed else ():
            with self.store.open(name) as file:
                for batch in pq.ParquetFile(file).iter_batches(columns=EXPORTED.names[:2]):
                    columns = [*batch.select(EXPORTED.names[:2]).columns, pa.repeat(name, len(batch))]
                    yield pa.record_batch(columns, schema=EXPORTED)

    def commit(self, changes: Changes) -> Committed:
        """Write new files, and those with removed rows anew without them; then replace the card."""
        schema, store = _dataset_schema(changes.schema), self.store
        before = self.listed.files if self.listed else []
        replaced = before if changes.replaces_all else [name for name, _ in changes.stale.files()]
        added: list[DataFile] = []
        if not changes.replaces_all:
            for name, dropped in changes.stale.files():
                with store.open(name) as file:
                    added += write_files(kept_rows(file, dropped), schema, store.put)
        copied = sum(file.rows for file in added)
        added += write_files((_as_images(batch, schema) for batch in changes.rows), schema, store.put)
        kept = [name for name in before if name not in {*replaced}]
        if not kept and not added:  # a data set without rows still has columns
            added += write_files([pa.RecordBatch.from_pylist([], schema)], schema, store.put)
        files = list(dict.fromkeys([*kept, *(file.name for file in added)]))
        listed = Listed(changes.stamp(), files)
        card = write_card(self.card, store.uri, listed)
        changes.check()
        version = store.commit(card, listed)
        self.card, self.listed = card, listed
        return Committed(version, copied)


def parse_card(text: str) -> Listed | None:
    """Read what a card lists; ``None`` if no export wrote it."""
    from huggingface_hub import DatasetCard

    known: Mapping[str, Any] = DatasetCard(text, ignore_metadata_errors=True).data.to_dict()
    try:
        stamp = Stamp(**known[MARK])
        (own,) = (config for config in known["configs"] if config["config_name"] == CONFIG)
        files = own["data_files"][0]["path"]
        return Listed(stamp, [files] if isinstance(files, str) else list(files))
    except (LookupError, TypeError, ValueError):
        return None


def write_card(before: str | None, uri: str, listed: Listed) -> str:
    """Return a card that lists files; what people have added to the earlier one is kept."""
    from huggingface_hub import DatasetCard

    card = DatasetCard(
        before if before is not None else f"---\nconfigs: []\n---\n{_TEXT.format(title=uri.rpartition('/')[2])}"
    )
    own = {"config_name": CONFIG, "data_files": [{"split": SPLIT, "path": listed.files}]}
    others = [config for config in card.data.get("configs") or [] if config.get("config_name") != CONFIG]
    card.data["configs"] = [own, *others]
    card.data[MARK] = listed.stamp._asdict()
    return str(card)


def _dataset_schema(schema: pa.Schema) -> pa.Schema:
    """Return the schema of the files: images as Hugging Face stores them."""
    fields = [pa.field(IMAGE, _STRUCT) if field.name == IMAGE else field for field in schema]
    return pa.schema(fields, _FEATURES if IMAGE in schema.names else None)


def _own_schema(schema: pa.Schema) -> pa.Schema:
    return pa.schema([pa.field(IMAGE, pa.binary()) if field.name == IMAGE else field for field in schema])


def _as_images(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    if IMAGE not in batch.schema.names:
        return batch
    paths = pa.array([name.rpartition("/")[2] for name in batch["sample_id"].to_pylist()])
    images = pa.StructArray.from_arrays([batch[IMAGE], paths], fields=list(_STRUCT))
    columns = [images if name == IMAGE else batch[name] for name in batch.schema.names]
    return pa.record_batch(columns, schema=schema)
