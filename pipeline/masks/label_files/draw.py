"""Draws the chosen objects of a label file."""

from pipeline.codecs.photo import Photo
from pipeline.config.mask import MaskConfig
from pipeline.masks.canvas import Canvas
from pipeline.masks.drawn import DrawnMask
from pipeline.masks.label_files.labelled import LabelFile, Labelled
from pipeline.masks.label_files.labelme import PICTURE
from pipeline.masks.shapes.drawing import draw_object
from pipeline.masks.sizes import annotated_shape, drawn_shape, turned_advice
from pipeline.masks.values import read_values


def draw_labels(labels: LabelFile, photo: Photo, config: MaskConfig, max_pixels: int) -> DrawnMask:
    """Draw the objects of the chosen classes, at the size that the file states.

    Args:
        labels: of the image.
        photo: the decoded image.
        config: classes to fill, and whether coordinates are upright and may be scaled.
        max_pixels: limit of pictures in the file.

    Raises:
        ValueError, TypeError, KeyError: an object cannot be drawn, or none covers a pixel.
        SampleError: another size than the image has, or a picture in the file is damaged.
    """
    shape = drawn_shape(photo.pixels.shape[:2], photo.orientation, config)
    if labels.size is not None:
        shape = annotated_shape(labels.size, shape, photo.orientation, config)
    canvas = Canvas(shape, turned_advice(shape, photo.orientation, config))
    chosen = [found for found in labels.objects if _is_chosen(found.label, config)]
    for found in chosen:
        _draw(canvas, found, labels, max_pixels)
    mask = canvas.mask()
    if chosen and not mask.any():
        raise ValueError(f"none of {len(chosen)} covers a pixel")
    scores = [float(found.score) for found in chosen if found.score is not None]
    return DrawnMask(mask, len(chosen), max(scores, default=None))


def _draw(canvas: Canvas, found: Labelled, labels: LabelFile, max_pixels: int) -> None:
    if PICTURE not in found.element:
        draw_object(canvas, found.element, labels.box_format, labels.units)
        return
    left, top = found.element["at"]
    canvas.add_pixels(read_values(found.element[PICTURE], max_pixels, "colour").numbers > 0, left, top)


def _is_chosen(label: str | int, config: MaskConfig) -> bool:
    """Return whether the class of an object is to be filled.

    Raises:
        ValueError: the file numbers its classes, but they are chosen by names that nobody has told.
    """
    if not config.categories:
        return True
    names = {str(name) for name in config.categories}
    if isinstance(label, str):
        return label in names
    if not config.class_names and not all(name.isdigit() for name in names):
        raise ValueError("the file numbers its classes: set mask.class_names to the file with their names")
    own = config.class_names[label] if 0 <= label < len(config.class_names) else None
    return str(label) in names or own in names
