"""``member``: masks in tar shards, beside the images."""

from pipeline.config.mask import MaskConfig
from pipeline.config.rules import MaskPlace
from pipeline.errors import ConfigError
from pipeline.masks.pictures import PictureMasks


class MemberMasks(PictureMasks):
    """A member of a tar shard, beside the image."""

    indifferent = ("uri", "template")

    def __init__(self, config: MaskConfig) -> None:
        super().__init__(config)
        self.place = MaskPlace(members=(config.member,) if isinstance(config.member, str) else tuple(config.member))

    def check(self, source_format: str) -> None:
        """See :class:`pipeline.masks.base.MaskKind`."""
        if source_format != "webdataset":
            raise ConfigError(f"mask.kind=member needs source.format=webdataset, not {source_format}")
        super().check(source_format)
