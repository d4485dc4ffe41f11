"""How the pixels of a result came to be, in the words of IPTC and XMP."""

from dataclasses import dataclass

from pipeline.version import VERSION

# Source: IPTC NewsCodes, https://cv.iptc.org/newscodes/digitalsourcetype/
SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
GENERATED, COMPOSITE, ALTERED = (
    "trainedAlgorithmicMedia",
    "compositeWithTrainedAlgorithmicMedia",
    "algorithmicallyEnhanced",
)
# How strong a statement is; one that a file has already stays unless a stronger one is true.
_STRENGTH = {ALTERED: 1, COMPOSITE: 2, GENERATED: 3}


@dataclass(frozen=True)
class Provenance:
    """The origin of the pixels of a result.

    Args:
        source_type: the last part of its IPTC digital source type.
        sentence: says it to people.
    """

    source_type: str
    sentence: str

    @property
    def uri(self) -> str:
        """URI of the digital source type."""
        return SOURCE_TYPES + self.source_type

    def replaces(self, uri: str) -> bool:
        """Return whether this digital source type says more than one that a file already has."""
        before = uri.strip().replace("https://", "http://").removeprefix(SOURCE_TYPES)
        return _STRENGTH.get(before, 0) < _STRENGTH[self.source_type]


INPAINTED = Provenance(COMPOSITE, "inpainted: a model generated the pixels of some parts")
COMPUTED = Provenance(ALTERED, "a known mark was computed out of the pixels")
SOFTWARE = f"moebius-pipeline {VERSION}"  # without anything about the machine
