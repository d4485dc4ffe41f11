"""The section ``mask`` of a configuration."""

from dataclasses import dataclass, field
from typing import Any

from pipeline.config.mark import check_mark
from pipeline.config.model_input import ModelInput
from pipeline.config.rules import MaskRules
from pipeline.config.shapes import CORNERS, LABEL_FORMATS, check_expression, check_roles
from pipeline.config.template import check_template
from pipeline.config.values import absolute_uri, as_extension, choose
from pipeline.detection.registry import CONTRACTS
from pipeline.errors import ConfigError
from pipeline.masks.registry import MASK_KINDS

ANCHORS = ("top-left", "top-right", "bottom-left", "bottom-right", "center")
MIN_TILE_PX = 64
_OF_ALL = ("min_fraction", "max_fraction", "missing")  # are keys of a union, not of its parts


@dataclass(frozen=True)
class MaskConfig:
    """Where masks come from and how they are read; values at or above the threshold, and not zero, are filled.

    Args:
        kind: ``paired`` (a mask file for each image), ``static`` (one mask for all), ``member`` (of a tar shard, beside
            the image), ``column`` (of a Parquet file), ``alpha`` (what the image's own alpha channel makes
            transparent), ``boxes`` (JSON lines, or a column), ``coco`` (annotations), ``shapes`` (objects in Parquet,
            CSV or JSON, as detectors write them), ``labels`` (a file of a labelling tool for each image), ``text``
            (overlaid text, found in the pixels), ``detect`` (objects that ONNX models find), ``python`` (a function of
            yours) or ``mark`` (a semi-transparent mark of your own, computed out of the image).
        uri: folder of the masks, or the one file with the mask, the mark or the annotations; of ``shapes`` one file, a
            folder or a glob; unused where masks are made from the image itself.
        template: name of an image's mask below ``uri``, with ``{path}``, ``{dir}``, ``{stem}`` and ``{ext}`` of the
            sample's name, and ``{n}`` for any number, where all such masks are united; null tries the same path, then
            the same stem with any image extension.
        member: extension of the mask's member in a tar shard: ``7.mask.png`` is the mask of ``7.jpg``; a glob such as
            ``mask*.png``, or a list, unites several.
        column: column of masks, or of boxes, in Parquet files; in a list, of boxes, or of paths or uris of mask files.
            A column of lists of masks unites them.
        threshold: share of full scale, 0 … 1; values at or above it are filled.
        channel: ``colour``: the strongest channel of a mask file, times its opacity; ``alpha``: only its opacity, for
            strokes of any colour on a transparent ground.
        upright: whether masks and annotations were drawn on the image as viewers show it, turned by its EXIF
            orientation; they are turned to the stored orientation.
        resize: scale a mask whose size differs from that of its image; otherwise it fails the sample.
        anchor: corner, such as ``bottom-right``, or ``center``, where a mask of another size is put unscaled; null:
            none.
        box_format: ``xyxy`` (left, top, right, bottom), ``xywh`` (left, top, width, height) or ``cxcywh`` (centre,
            width, height).
        box_units: ``pixel``, or ``relative`` to width and height of the image.
        categories: names or ids of classes in a COCO file or in label files; an empty list means all.
        labels: format of label files: ``yolo``, ``labelme``, ``voc``, ``sa1b``; ``auto`` looks at each file.
        class_names: names of YOLO's classes in the order of their numbers, or the file that has them:
            ``classes.txt`` or ``data.yaml``.
        columns: names of columns of ``shapes`` where they are not the usual ones, such as ``{sample: path}``; keys are
            ``sample``, ``box`` (or four columns), ``polygon``, ``rle``, ``score`` and ``objects``.
        where: SQL expression over an object of ``shapes``; only objects for which it is true are filled, such as
            ``score > 0.4 AND label = 'logo'``.
        missing: a sample without a mask or its mark, or that no annotation names: ``fail`` it, or ``empty``: it has
            nothing to fill and passes through.
        letters: fill only the letters of a line of text where they can be told from the ground, not its whole area.
        text_score: minimum confidence of the detector in a line of text, 0 … 1.
        invert: fill the pixels that the mask does not mark.
        close_px: close gaps and notches up to twice that wide.
        dilate_px: grow the hole by that many pixels on every side.
        min_fraction: a mask that covers less of its image, but not nothing, fails the sample.
        max_fraction: a mask that covers more of its image fails the sample.
        model: ONNX file of ``detect``, local, remote or ``hf://``, or a list of them, whose finds are united.
        model_sha256: hashes of these files; empty: those of the files as the driver finds them.
        output: what the model's outputs mean: ``boxes``, ``detr``, ``rtdetr``, ``yolo``, ``yolo-seg``, ``heatmap`` or
            ``classmap``; ``auto`` tells from their names and shapes.
        classes: names or ids of the classes to fill; an empty list means all.
        score: minimum confidence of an object or a pixel, 0 … 1.
        input: how the model takes photos where that is not usual: ``size`` ([width, height] in pixels), ``fit``
            (``letterbox`` or ``stretch``), ``values`` (``unit``, ``byte``, ``signed`` or ``imagenet``) or ``mean`` and
            ``std``, ``order`` (``rgb`` or ``bgr``).
        tile_px: look at overlapping tiles of this side one by one, for small objects in large photos; 0: at the whole.
        device: of the model of ``detect``: ``cpu`` or ``cuda``.
        function: of ``python``, as ``package.module:function``.
        version: of the function, any text; null: the hash of its file.
        also: further masks of the image itself that are united with this one, each with keys of this section; a list as
            ``mask`` fills it.
        offset: of a mark, [x, y] in pixels: from its corner inwards, or from the centre to the right and down.
        size: of a mark, as a share of the image's width; null: its own pixels.
        repeat: of a mark, [x, y] in pixels from one to the next over the whole image; true: side by side; null: one.
        find: where else to look for a mark: ``shift_px`` (so far in all directions), ``scale`` (larger and smaller by
            up to this share).
        max_opacity: of a mark, above which pixels are filled by the model rather than computed, 0 … 1; ``auto``: by
            the noise of the image's file.
    """

    kind: str = "paired"
    uri: str = "masks/"
    template: str | None = None
    member: Any = "mask.png"
    column: str | None = None
    threshold: float = 0.5
    channel: str = "colour"
    upright: bool = False
    resize: bool = False
    anchor: str | None = None
    box_format: str = "xyxy"
    box_units: str = "pixel"
    categories: list[Any] = field(default_factory=list)
    labels: str = "auto"
    class_names: Any = field(default_factory=list)
    columns: dict[str, Any] = field(default_factory=dict)
    where: str | None = None
    missing: str = "fail"
    text_score: float = 0.6
    invert: bool = False
    close_px: int = 0
    dilate_px: int = 0
    min_fraction: float = 0.0
    max_fraction: float = 0.9
    model: Any = None
    model_sha256: list[str] = field(default_factory=list)
    output: str = "auto"
    classes: list[Any] = field(default_factory=list)
    score: float = 0.5
    input: dict[str, Any] = field(default_factory=dict)
    tile_px: int = 0
    device: str = "cpu"
    function: str | None = None
    version: str | None = None
    also: list[Any] = field(default_factory=list)
    letters: bool = False
    offset: list[int] = field(default_factory=lambda: [0, 0])
    size: float | None = None
    repeat: Any = None
    find: dict[str, Any] = field(default_factory=dict)
    max_opacity: Any = "auto"

    def __post_init__(self) -> None:
        object.__setattr__(self, "uri", absolute_uri(self.uri, "mask.uri"))
        object.__setattr__(self, "member", _members(self.member))
        choose("mask.kind", self.kind, MASK_KINDS)
        for key in ("threshold", "text_score", "score"):
            if not 0 <= getattr(self, key) <= 1:
                raise ConfigError(f"mask.{key} must be in 0 … 1, got {getattr(self, key)}")
        for key in ("dilate_px", "close_px"):
            if getattr(self, key) < 0:
                raise ConfigError(f"mask.{key} must not be negative, got {getattr(self, key)}")
        choose("mask.anchor", self.anchor or ANCHORS[0], ANCHORS)
        choose("mask.channel", self.channel, ("colour", "alpha"))
        choose("mask.missing", self.missing, ("fail", "empty"))
        if self.anchor and self.resize:
            raise ConfigError("mask.anchor and mask.resize exclude each other: a mask is either placed or scaled")
        if not 0 < self.max_fraction <= 1:
            raise ConfigError(f"mask.max_fraction must be above 0 and at most 1, got {self.max_fraction}")
        if not 0 <= self.min_fraction <= self.max_fraction:
            raise ConfigError(f"mask.min_fraction must be in 0 … mask.max_fraction, got {self.min_fraction}")
        self._check_annotations()
        object.__setattr__(self, "also", [_further(part, number) for number, part in enumerate(self.also)])
        if self.template is not None:
            check_template(self.template)
        self._check_detection()
        check_mark(self.offset, self.size, self.repeat, self.find, self.max_opacity)

    def _check_detection(self) -> None:
        if self.model is not None:
            uris = self.model if isinstance(self.model, list | tuple) else [self.model]
            if not uris or not all(isinstance(uri, str) for uri in uris):
                raise ConfigError(f"mask.model must be a path, a uri, or a list of them, got {self.model!r}")
            object.__setattr__(self, "model", [absolute_uri(uri, "mask.model") for uri in uris])
        if self.model_sha256 and len(self.model_sha256) != len(self.model or []):
            raise ConfigError(f"mask.model_sha256 must have one hash for each model, got {len(self.model_sha256)}")
        choose("mask.output", self.output, ("auto", *CONTRACTS))
        choose("mask.device", self.device, ("cpu", "cuda"))
        if not all(isinstance(name, str | int) for name in self.classes):
            raise ConfigError(f"mask.classes must be a list of names or ids, got {self.classes}")
        if self.tile_px != 0 and self.tile_px < MIN_TILE_PX:
            raise ConfigError(f"mask.tile_px must be 0 or at least {MIN_TILE_PX}, got {self.tile_px}")
        ModelInput.parse(self.input)

    def _check_annotations(self) -> None:
        choose("mask.box_format", self.box_format, tuple(CORNERS))
        choose("mask.box_units", self.box_units, ("pixel", "relative"))
        choose("mask.labels", self.labels, LABEL_FORMATS)
        check_roles(self.columns)
        check_expression("mask.where", self.where, "an object")
        if not all(isinstance(name, str | int) for name in self.categories):
            raise ConfigError(f"mask.categories must be a list of names or ids, got {self.categories}")
        if not isinstance(self.class_names, str | list) or not all(isinstance(name, str) for name in self.class_names):
            raise ConfigError(f"mask.class_names must be a list of names, or a file of them, got {self.class_names!r}")

    @property
    def parts(self) -> "list[MaskConfig]":
        """Return all masks that are united, this one first."""
        return [self, *self.also]

    @property
    def kinds(self) -> str:
        """Return the kinds of all of them, as the manifest has them."""
        return "+".join(part.kind for part in self.parts)

    @property
    def rules(self) -> MaskRules:
        """Return the kind's requirements on the configuration and the place of its masks."""
        rules: MaskRules = MASK_KINDS.load(self.kind)(self)
        return rules


def _further(part: Any, number: int) -> MaskConfig:
    """Return one of several masks that are united.

    Raises:
        ConfigError: it is none, or has keys that only the first one may have.
    """
    if not isinstance(part, MaskConfig | dict) or not part:
        raise ConfigError(f"mask.also[{number}] must have keys of mask, got {part!r}")
    try:
        further = part if isinstance(part, MaskConfig) else MaskConfig(**_typed(part, f"mask.also[{number}]"))
    except TypeError as error:
        raise ConfigError(f"mask.also[{number}] must have keys of mask: {error}") from error
    place = further.rules.place
    if place.is_outside or place.is_beside_image:
        raise ConfigError(
            f"mask.kind={further.kind} cannot be united with other masks: only one of them may have files or "
            "annotations, the others must be made from the image itself"
        )
    for key in _OF_ALL:
        if getattr(further, key) != getattr(MaskConfig, key):
            raise ConfigError(
                f"mask.{key} is of all masks together: set it for the one that has files, not {further.kind}"
            )
    if further.also:
        raise ConfigError("mask.also must not hold further lists of masks")
    return further


def _typed(part: dict[str, Any], name: str) -> dict[str, Any]:
    """Return keys of a mask with whole numbers as fractions where those are meant; refuse values of other types."""
    typed = dict(part)
    for key, value in part.items():
        usual = getattr(MaskConfig, key, None)
        if isinstance(usual, float) and type(value) is int:
            typed[key] = float(value)
        elif isinstance(usual, bool | int | float) and type(value) is not type(usual):
            raise ConfigError(f"{name}.{key} must be a value such as {usual}, got {value!r}")
    return typed


def _members(member: Any) -> str | list[str]:
    """Normalize the extension of the mask's member, or a list of such."""
    several = member if isinstance(member, list) else [member]
    if not several or not all(isinstance(name, str) and name for name in several):
        raise ConfigError(f"mask.member must be an extension such as mask.png, or a list of such, got {member!r}")
    names = [as_extension(name) for name in several]
    return names if isinstance(member, list) else names[0]
