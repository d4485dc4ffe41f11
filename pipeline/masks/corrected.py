"""Corrected masks, which people drew in a review of a result."""

from pipeline.config.mask import MaskConfig
from pipeline.errors import SampleError
from pipeline.sources.inputs import Inputs


def settings_of(inputs: Inputs, config: MaskConfig) -> MaskConfig:
    """Return how the mask of a sample is read.

    A corrected mask is the whole hole, in black and white and of the size of the stored image: it is neither inverted
    nor turned, scaled or grown. The limits on its size are those of all masks.

    Raises:
        SampleError: the mask says what is computed, too, and not only what is filled.
    """
    if not inputs.is_corrected:
        return config
    if any(part.kind == "mark" for part in config.parts):
        raise SampleError(
            "mask",
            "CorrectedMark",
            "a corrected mask would have the whole mark filled rather than computed, so mask.kind=mark takes none: "
            "redo the sample with other settings of mask, such as mask.offset",
        )
    return MaskConfig(kind="paired", min_fraction=config.min_fraction, max_fraction=config.max_fraction)
