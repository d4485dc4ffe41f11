"""XMP without what no longer holds once pixels have changed, and without what still shows them; the rest to the byte.

A result has none of what a phone stores behind its picture: gain maps, videos, depth, second views. XMP that announces
them makes readers look for them in vain, or take the file for damaged.
"""

import re
from collections.abc import Iterator
from xml.parsers import expat

from pipeline.codecs.metadata_formats.embedded_jpegs import without_jpegs

# Namespaces about pictures, videos and sounds behind or inside the file. Names: Adobe's and Apple's gain maps, Adobe's
# thumbnails, Google's containers, depth and second views, Xiaomi's and OPPO's own.
_NAMESPACES = (
    "http://ns.adobe.com/hdr-gain-map/",
    "http://ns.adobe.com/xap/1.0/g/img/",
    "http://ns.apple.com/HDRGainMap/",
    "http://ns.apple.com/pixeldatainfo/",
    "http://ns.google.com/photos/1.0/audio/",
    "http://ns.google.com/photos/1.0/container/",
    "http://ns.google.com/photos/1.0/depthmap/",
    "http://ns.google.com/photos/1.0/image/",
    "http://ns.google.com/photos/dd/",
    "http://ns.oplus.com/photos/",
    "http://ns.xiaomi.com/photos/",
)
# Prefixes of names in other namespaces: videos, thumbnails, the location of a signature of the old pixels.
_PROPERTIES = (
    "http://ns.google.com/photos/1.0/camera/ MicroVideo",
    "http://ns.google.com/photos/1.0/camera/ MotionPhoto",
    "http://ns.adobe.com/xap/1.0/ Thumbnails",
    "http://purl.org/dc/terms/ provenance",
)
_EXTENSION = ("http://ns.adobe.com/xmp/note/ HasExtendedXMP",)
_TELLTALES = (*_NAMESPACES, "MicroVideo", "MotionPhoto", "Thumbnails")  # where no parser helps
_TAG_NAME = re.compile(rb"<[^\s/>]+")
_EMPTY_TAG = re.compile(rb"<[^<>\"']+(?:\"[^\"]*\"[^<>\"']*|'[^']*'[^<>\"']*)*/>")
_ATTRIBUTE = re.compile(rb"\s+([^\s=/>]+)\s*=\s*(?:\"([^\"]*)\"|'([^']*)')")


def still_true(xmp: bytes, has_extension: bool = False) -> bytes:
    """Remove what announces missing parts of a file, or holds a thumbnail; blank other JPEGs, which are in Base64.

    Args:
        xmp: from outside. What is no XML, or has a document type, is kept only where it mentions nothing of that.
        has_extension: the second part of a long XMP, which JPEG stores apart, is kept too.

    Returns:
        The bytes without those elements and attributes, otherwise the same; empty where nothing can be kept.
    """
    names = _PROPERTIES if has_extension else _PROPERTIES + _EXTENSION
    try:
        return without_jpegs(without(xmp, _NAMESPACES, names))
    except UnreadableXmpError:
        encodings = ("utf-8", "utf-16-le", "utf-16-be")
        is_telling = any(text.encode(encoding) in xmp for text in _TELLTALES for encoding in encodings)
        return b"" if is_telling else without_jpegs(xmp)


def without(xmp: bytes, namespaces: tuple[str, ...], names: tuple[str, ...]) -> bytes:
    """Remove elements and attributes, and leave all other bytes as they are.

    Args:
        xmp: from outside.
        namespaces: whose names are removed, with their declarations.
        names: beginnings of further names, each a namespace and a name with a space between.

    Raises:
        UnreadableXmpError: it is no XML in UTF-8, or has a document type.
    """
    try:
        cuts = _Finder(xmp.rstrip(b"\0"), namespaces, names).cuts
    except expat.ExpatError as error:
        raise UnreadableXmpError(str(error)) from error
    position, kept = 0, []
    for start, end in cuts:
        kept.append(xmp[position:start])
        position = end
    return b"".join((*kept, xmp[position:]))


def is_empty_tag(xmp: bytes, start: int, end: int) -> bool:
    """Return whether these bytes of sound XML are one tag without content, such as ``<a/>``."""
    return bool(_EMPTY_TAG.fullmatch(xmp, start, end))


class UnreadableXmpError(ValueError):
    """XMP that is no XML, or none of files: in UTF-16, or with a document type, which could only define entities."""


def new_parser() -> expat.XMLParserType:
    """Return a parser of XMP that expands no entity and loads nothing, since it refuses document types."""
    parser = expat.ParserCreate("utf-8", namespace_separator=" ")
    parser.ordered_attributes = True
    parser.StartDoctypeDeclHandler = _refuse
    return parser


def _refuse(*_: object) -> None:
    raise UnreadableXmpError("a document type")


class _Finder:
    """Find the bytes of elements and attributes that are to be removed, in order."""

    def __init__(self, xmp: bytes, namespaces: tuple[str, ...], names: tuple[str, ...]) -> None:
        self.cuts: list[tuple[int, int]] = []
        self._xmp, self._namespaces, self._names = xmp, namespaces, namespaces + names
        self._start, self._depth = 0, 0  # of the element that is being removed
        self._parser = new_parser()
        self._parser.StartElementHandler = self._begin
        self._parser.EndElementHandler = self._end
        if b"\0" in xmp:
            raise UnreadableXmpError("a zero byte")
        self._parser.Parse(xmp, True)

    def _is_removed(self, name: str) -> bool:
        return name.startswith(self._names)

    def _begin(self, name: str, attributes: list[str]) -> None:
        if self._depth:
            self._depth += 1
        elif self._is_removed(name):
            self._start, self._depth = self._parser.CurrentByteIndex, 1
        else:
            self.cuts.extend(self._attribute_cuts(self._parser.CurrentByteIndex, attributes[::2]))

    def _attribute_cuts(self, start: int, names: list[str]) -> Iterator[tuple[int, int]]:
        """Yield the parts of a valid start tag to remove: attributes by full name, declarations by value."""
        left = iter(names)
        tag_name = _TAG_NAME.match(self._xmp, start)
        found = _ATTRIBUTE.match(self._xmp, tag_name.end()) if tag_name else None
        while found:
            is_declaration = found[1].split(b":")[0] == b"xmlns"
            value = (found[2] or found[3] or b"").decode(errors="replace")
            if value.startswith(self._namespaces) if is_declaration else self._is_removed(next(left, "")):
                yield found.span()
            found = _ATTRIBUTE.match(self._xmp, found.end())

    def _end(self, _: str) -> None:
        if self._depth:
            self._depth -= 1
            if not self._depth:
                end = self._parser.CurrentByteIndex  # behind an empty tag, else before the end tag
                end = end if is_empty_tag(self._xmp, self._start, end) else self._xmp.index(b">", end) + 1
                self.cuts.append((self._start, end))
