"""``column``: masks in a column of Parquet files."""

from collections.abc import Collection

from pipeline.config.mask import MaskConfig
from pipeline.config.rules import MaskPlace
from pipeline.errors import ConfigError
from pipeline.masks.pictures import PictureMasks


class ColumnMasks(PictureMasks):
    """A column of pictures in Parquet files."""

    def __init__(self, config: MaskConfig) -> None:
        super().__init__(config)
        self.place = MaskPlace(column=config.column or "")

    def check(self, source_format: str) -> None:
        """See :class:`pipeline.masks.base.MaskKind`."""
        if not self.config.column:
            raise ConfigError("mask.kind=column needs mask.column, the name of the column of masks")
        check_table(source_format)


def check_table(source_format: str, formats: Collection[str] = ("parquet",)) -> None:
    """Refuse ``mask.column`` where the source has no such columns.

    Raises:
        ConfigError: naming the formats.
    """
    if source_format not in formats:
        raise ConfigError(f"mask.column needs source.format={' or '.join(formats)}, not {source_format}")
