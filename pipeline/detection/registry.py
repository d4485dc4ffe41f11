"""Registries of detectors, by mask kind, and of the outputs of ONNX models that are understood."""

from pipeline.registry import Registry

DETECTORS = Registry(
    "pipeline.detection",
    {
        "text": "text.TextDetector",
        "detect": "models.ModelsDetector",
        "python": "function.FunctionDetector",
    },
)
CONTRACTS = Registry(
    "pipeline.detection.contracts",
    {
        "boxes": "boxes.Boxes",
        "detr": "queries.Detr",
        "rtdetr": "queries.RtDetr",
        "yolo": "yolo.Yolo",
        "yolo-seg": "yolo.YoloSegmentation",
        "heatmap": "maps.Heatmap",
        "classmap": "maps.ClassMap",
    },
)
