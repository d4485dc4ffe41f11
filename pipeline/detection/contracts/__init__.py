"""Outputs of ONNX models, one file each family; ``pipeline.detection.registry`` lists them."""
