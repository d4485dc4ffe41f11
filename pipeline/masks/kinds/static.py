"""``static``: one mask file for all images of its size."""

from typing import TYPE_CHECKING

from pipeline.config.mask import MaskConfig
from pipeline.config.rules import MaskPlace
from pipeline.errors import ConfigError
from pipeline.masks.pictures import PictureMasks

if TYPE_CHECKING:
    from pipeline.database import Database
    from pipeline.storage.storage import Storage


class StaticMask(PictureMasks):
    """One mask file for all images of its size."""

    def __init__(self, config: MaskConfig) -> None:
        super().__init__(config)
        self.place = MaskPlace(is_file=True, is_shared=True)

    def open(self, storage: "Storage", source: "Storage") -> None:
        """See :class:`pipeline.masks.base.MaskKind`."""
        super().open(storage, source)
        if not storage.is_file():
            raise ConfigError(f"mask.uri must be one file for mask.kind=static, found none at {storage}")

    def pair(self, database: "Database") -> None:
        """Create the table ``samples`` from ``images`` and the one mask, whose key below its own uri is empty."""
        from pipeline.database import in_batches
        from pipeline.masks.pairing import MASK_FILES, samples_sql

        database.create("masks", MASK_FILES, in_batches([self.storage.stat()], MASK_FILES))
        database.run(samples_sql("images, masks mask"))
