"""Registry of mask kinds: one line and one file in ``kinds/`` each."""

from pipeline.registry import Registry

MASK_KINDS = Registry(
    "pipeline.masks.kinds",
    {
        "paired": "paired.PairedMasks",
        "static": "static.StaticMask",
        "member": "member.MemberMasks",
        "column": "column.ColumnMasks",
        "alpha": "alpha.AlphaMasks",
        "boxes": "boxes.BoxMasks",
        "coco": "coco.CocoMasks",
        "shapes": "shapes.ShapeMasks",
        "labels": "labels.LabelMasks",
        "text": "text.TextMasks",
        "mark": "mark.KnownMark",
        "detect": "detect.DetectedMasks",
        "python": "python.FunctionMasks",
    },
)
