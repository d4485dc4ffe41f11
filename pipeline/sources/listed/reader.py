"""Reads the files that a list names, on workers."""

from collections.abc import Iterator, Sequence

from pipeline.sources.inputs import Inputs, Sample, file_version
from pipeline.sources.linked import LinkedFiles
from pipeline.sources.listed.carried import unpack_row
from pipeline.sources.versions import checked
from pipeline.sources.wanted import Wanted
from pipeline.storage.storage import Storage


class ListedReader:
    """See :class:`pipeline.sources.inputs.FormatReader`; a sample's file is a uri or a path outside of the root."""

    def __init__(self, wanted: Wanted, storage: Storage) -> None:
        self._storage, self._files = storage, LinkedFiles(wanted, storage)

    def read_all(self, samples: Sequence[Sample]) -> Iterator[Inputs | Exception]:
        """See :class:`pipeline.sources.inputs.FormatReader`."""
        return self._storage.in_parallel(self._read, samples)

    def _read(self, sample: Sample) -> Inputs | Exception:
        try:
            version, size_bytes = checked(file_version(sample)), sample["size_bytes"] - (sample["mask_bytes"] or 0)
            if sample["file"] is None:
                image = self._files.read_key("read", sample["sample_id"], version, size_bytes)
            else:
                image = self._files.read("read", sample["file"], version, size_bytes)
            return Inputs(image, b"", unpack_row(sample["carried"]))
        except Exception as error:  # noqa: BLE001 - raised where its sample is dealt with
            return error
