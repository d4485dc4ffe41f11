"""Adds a digital source type and an entry of the history to XMP; every other byte of it stays.

Source: XMP specification part 1 (RDF) and part 2 (``xmpMM:History``); IPTC Photo Metadata (``DigitalSourceType``).
"""

from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

from pipeline.codecs.metadata.provenance import SOFTWARE, Provenance
from pipeline.codecs.metadata_formats.xmp import UnreadableXmpError, is_empty_tag, new_parser, without

MAX_XMP_BYTES = 1 << 24
_RDF, _EXTENSION = "http://www.w3.org/1999/02/22-rdf-syntax-ns#", "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
_MEDIA, _EVENT = "http://ns.adobe.com/xap/1.0/mm/", "http://ns.adobe.com/xap/1.0/sType/ResourceEvent#"
_ROOT, _ABOUT, _SEQUENCE, _RESOURCE = (f"{_RDF} {name}" for name in ("RDF", "about", "Seq", "resource"))
_SOURCE_TYPE, _HISTORY = f"{_EXTENSION} DigitalSourceType", f"{_MEDIA} History"
_EMPTY = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n<x:xmpmeta xmlns:x="adobe:ns:meta/">\n'
    f'<rdf:RDF xmlns:rdf="{_RDF}">\n</rdf:RDF>\n</x:xmpmeta>\n<?xpacket end="w"?>'
).encode()
Edit = tuple[int, int, str]  # start and end of bytes, and the text in their place


def marked(xmp: bytes, provenance: Provenance) -> bytes:
    """Return XMP with the digital source type and one more entry of the history.

    A digital source type that says as much stays; a weaker one is replaced, and the entry names it. The entry has no
    time, so that equal inputs make equal bytes.

    Args:
        xmp: from outside; empty for a new packet.
        provenance: what was done to the photo.

    Raises:
        UnreadableXmpError: nothing can be added without losing something.
    """
    xmp = xmp.rstrip(b"\0") or _EMPTY
    if len(xmp) > MAX_XMP_BYTES:
        raise UnreadableXmpError(f"more than {MAX_XMP_BYTES} bytes")
    before = _Finder(xmp).source_types
    is_stronger = all(provenance.replaces(value) for value in before)
    if before and is_stronger:
        xmp = without(xmp, (), (_SOURCE_TYPE,))
    found, entry = _Finder(xmp), _entry(provenance, before if is_stronger else [])
    properties = f"<Iptc4xmpExt:DigitalSourceType>{provenance.uri}</Iptc4xmpExt:DigitalSourceType>\n" * is_stronger
    if not found.history:
        properties += f"<xmpMM:History><rdf:Seq>\n{entry}</rdf:Seq></xmpMM:History>\n"
    edits = [found.history.edit(entry)] if found.history else []
    if properties:
        edits.append(found.root.edit(_description(found.about, properties)))
    return _edited(xmp, edits)


def without_padding(xmp: bytes) -> bytes:
    """Return XMP without the white space that writers leave before its end, for others to write into."""
    head, end, tail = xmp.rpartition(b"<?xpacket end")
    return head.rstrip() + b"\n" + end + tail if end else xmp


def _edited(xmp: bytes, edits: list[Edit]) -> bytes:
    for start, end, text in sorted(edits, reverse=True):
        xmp = xmp[:start] + text.encode() + xmp[end:]
    return xmp


def _description(about: str, properties: str) -> str:
    spaces = f'xmlns:rdf="{_RDF}" xmlns:Iptc4xmpExt="{_EXTENSION}" xmlns:xmpMM="{_MEDIA}"'
    return f"<rdf:Description {spaces} rdf:about={quoteattr(about)}>\n{properties}</rdf:Description>\n"


def _entry(provenance: Provenance, replaced: list[str]) -> str:
    sentence = "; ".join([provenance.sentence, *(f"DigitalSourceType was {value}" for value in replaced)])
    said = {"action": "edited", "softwareAgent": SOFTWARE, "parameters": sentence}
    fields = "".join(f"<stEvt:{name}>{escape(value)}</stEvt:{name}>" for name, value in said.items())
    return f'<rdf:li xmlns:rdf="{_RDF}" xmlns:stEvt="{_EVENT}" rdf:parseType="Resource">{fields}</rdf:li>\n'


class _Room:
    """Where text can be added at the end of an element, also of one that is a single empty tag.

    Args:
        xmp: contains it.
        start, end: of its start tag and its end tag, or both ends of the empty tag.
    """

    def __init__(self, xmp: bytes, start: int, end: int) -> None:
        self._start, self._end = start, end
        self._empty_tag = xmp[start:end].decode() if is_empty_tag(xmp, start, end) else ""

    def edit(self, text: str) -> Edit:
        """Return the edit that adds text."""
        if not self._empty_tag:
            return self._end, self._end, text
        name = self._empty_tag[1:-2].split(maxsplit=1)[0]
        return self._start, self._end, f"{self._empty_tag[:-2]}>{text}</{name}>"


class _Finder:
    """Find what is to be changed in XMP.

    Attributes:
        root: the first RDF.
        about: what its descriptions are about.
        source_types: all values of that property.
        history: its sequence; ``None`` if there is no history.
    """

    def __init__(self, xmp: bytes) -> None:
        self.about, self.source_types = "", list[str]()
        self.history: _Room | None = None
        self._xmp, self._path, self._starts, self._root_depth = xmp, list[str](), list[int](), 0
        self._has_history, self._text = False, list[str]()
        root = self._root = list[_Room]()
        self._parser = new_parser()
        self._parser.StartElementHandler, self._parser.EndElementHandler = self._begin, self._end
        self._parser.CharacterDataHandler = self._text.append
        try:
            self._parser.Parse(xmp, True)
        except (expat.ExpatError, UnicodeDecodeError) as error:
            raise UnreadableXmpError(str(error)) from error
        if not root:
            raise UnreadableXmpError("no RDF")
        if self._has_history and not self.history:
            raise UnreadableXmpError("a history that is no sequence")
        self.root = root[0]

    @property
    def _level(self) -> int:
        """Below the RDF: 1 for descriptions, 2 for their properties; 0 or less elsewhere."""
        return len(self._path) - self._root_depth if self._root_depth and not self._root else 0

    def _begin(self, name: str, attributes: list[str]) -> None:
        self._path.append(name)
        self._starts.append(self._parser.CurrentByteIndex)
        self._text.clear()
        if name == _ROOT and not self._root_depth:
            self._root_depth = len(self._path)
        values = dict(zip(attributes[::2], attributes[1::2], strict=True))
        if self._level == 1:
            self.about = self.about or values.get(_ABOUT, "")
            self.source_types += [values[_SOURCE_TYPE]] if _SOURCE_TYPE in values else []
            self._has_history |= _HISTORY in values
        elif self._level == 2:
            self.source_types += [values[_RESOURCE]] if name == _SOURCE_TYPE and _RESOURCE in values else []
            self._has_history |= name == _HISTORY

    def _end(self, name: str) -> None:
        room = _Room(self._xmp, self._starts.pop(), self._parser.CurrentByteIndex)
        if self._level == 0 and len(self._path) == self._root_depth and not self._root:
            self._root.append(room)
        elif self._level == 3 and name == _SEQUENCE and self._path[-2] == _HISTORY and not self.history:
            self.history = room
        elif self._level == 2 and name == _SOURCE_TYPE and (value := "".join(self._text).strip()):
            self.source_types.append(value)
        self._path.pop()
