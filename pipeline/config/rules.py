"""The properties of mask kinds and formats that the configuration, listing and reading need."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class MaskPlace:
    """Where masks lie; by default nowhere, as they are made from the image itself.

    Args:
        is_file: a mask is a file below ``mask.uri``.
        is_shared: one file is the mask of all samples.
        is_annotated: annotations in the file at ``mask.uri``, which the plan hands out with each sample.
        members: extensions of the masks' members in a shard, or globs of them.
        column: of pictures in a table.
        box_column: of lists of boxes in a table.
        path_column: of paths of mask files in a list.
    """

    is_file: bool = False
    is_shared: bool = False
    is_annotated: bool = False
    members: tuple[str, ...] = ()
    column: str = ""
    box_column: str = ""
    path_column: str = ""

    @property
    def is_outside(self) -> bool:
        """Whether masks lie elsewhere than in the source."""
        return self.is_file or self.is_annotated

    @property
    def is_beside_image(self) -> bool:
        """Whether the source holds a mask beside the image, which may be missing."""
        return bool(self.members or self.column or self.box_column)


class MaskRules(Protocol):
    """The interface of a mask kind for the configuration, see :class:`pipeline.masks.base.MaskKind`."""

    place: MaskPlace
    indifferent: tuple[str, ...]
    own_keys: tuple[str, ...]
    root_uri: str

    def check(self, source_format: str) -> None:
        """Refuse keys and source formats that do not fit the kind."""

    def check_pinned(self) -> None:
        """Check that the settings tell everything that decides a mask."""


class SourceRules(Protocol):
    """The interface of a source format for the configuration, see :class:`pipeline.sources.format.SourceFormat`."""

    is_sharded: bool
    is_list: bool
    has_members: bool
    counts_samples: bool


class SinkRules(Protocol):
    """The interface of a sink format for the configuration, see :class:`pipeline.sinks.format.ImageFiles`."""

    is_sharded: bool
    carries_json: bool
    own_columns: tuple[str, ...]
