"""``labels``: a file of a labelling tool for each image: YOLO, LabelMe, Pascal VOC or SA-1B."""

from typing import TYPE_CHECKING

from pipeline.config.mask import MaskConfig
from pipeline.config.rules import MaskPlace
from pipeline.errors import ConfigError, SampleError
from pipeline.masks.base import LOCATIONS, MaskKind
from pipeline.masks.kinds.paired import PairedMasks

if TYPE_CHECKING:
    from pipeline.codecs.photo import Photo
    from pipeline.masks.drawn import DrawnMask

_EXTENSIONS = {"yolo": (".txt",), "labelme": (".json",), "voc": (".xml",), "sa1b": (".json",)}
_NO_LABELS = ("classes.txt", "notes.json")  # that tools write beside the labels


class LabelMasks(PairedMasks):
    """One label file for each image, by template, else of the same stem."""

    indifferent = LOCATIONS
    own_keys = ("class_names",)
    preferred = ".txt"
    are_images = False

    def __init__(self, config: MaskConfig) -> None:
        super().__init__(config)
        self.place = MaskPlace(is_file=True)
        extensions = _EXTENSIONS.get(config.labels, sum(_EXTENSIONS.values(), ()))
        self.extensions = frozenset(extensions)

    def check(self, source_format: str) -> None:
        """See :class:`pipeline.masks.base.MaskKind`."""
        MaskKind.check(self, source_format)
        config = self.config
        if source_format == "list" and not self.template:
            raise ConfigError(
                "mask.kind=labels needs mask.template with source.format=list, where no file is looked for: "
                "such as {dir}{stem}.txt"
            )
        if config.labels == "sa1b" and config.categories:
            raise ConfigError("mask.categories has no meaning for mask.labels=sa1b, whose objects have no class")
        if isinstance(config.class_names, list):  # else they are still to be read
            self._check_names(config.class_names)

    def _check_names(self, classes: list[str]) -> None:
        asked = [str(name) for name in self.config.categories]
        known = {*map(str, classes), *map(str, range(len(classes)))}
        missing = [name for name in asked if name not in known]
        if classes and missing:
            raise ConfigError(
                f"mask.categories: mask.class_names has no {', '.join(missing)}; it has {', '.join(classes)}"
            )
        if self.config.labels == "yolo" and not classes and not all(name.isdigit() for name in asked):
            raise ConfigError(
                "mask.categories: YOLO numbers its classes; set mask.class_names to the classes.txt or data.yaml that "
                "has their names, or choose by number"
            )

    def is_mask(self, key: str) -> bool:
        """See :class:`pipeline.masks.kinds.paired.PairedMasks`."""
        return super().is_mask(key) and key.rpartition("/")[2].lower() not in _NO_LABELS

    def draw(self, data: bytes, photo: "Photo", max_pixels: int) -> "DrawnMask":
        """See :class:`pipeline.masks.base.MaskKind`."""
        from pipeline.masks.drawn import DrawnMask
        from pipeline.masks.label_files.draw import draw_labels
        from pipeline.masks.label_files.parse import parse_labels
        from pipeline.masks.sizes import fitted

        try:
            labels = parse_labels(data, self.config.labels)
            drawn = draw_labels(labels, photo, self.config, max_pixels)
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, RecursionError) as error:
            reason = f"it lacks {error}" if isinstance(error, KeyError) else error
            raise SampleError("mask", "BadAnnotation", f"the labels cannot be drawn: {reason}") from error
        return DrawnMask(fitted(drawn.pixels, photo, self.config), drawn.objects, drawn.score)

    def may_be_upright(self, shape: tuple[int, ...], orientation: int) -> bool:
        """Return true: coordinates may fit both the image as stored and as shown."""
        return True
