"""Read depth and colours of the main picture of an AVIF or HEIC file, which decoders would cut or ignore.

Source: ISO/IEC 14496-12 (boxes), 23008-12 (items and their properties).
"""

from collections.abc import Iterator
from dataclasses import dataclass

_FULL = 4  # bytes of version and flags
_CONTAINERS = {b"meta": _FULL, b"iprp": 0, b"ipco": 0}
_SDR_PRIMARIES, _SDR_TRANSFERS = (1, 2), (1, 2, 6, 13, 14, 15)  # as sRGB and BT.709, or not said


@dataclass(frozen=True)
class MainPicture:
    """Depth and colours of the main picture.

    Args:
        bits: of its deepest channel.
        colours: primaries and transfer by number (ITU-T H.273), where they are said so; a profile goes before them.
    """

    bits: int = 8
    colours: tuple[int, int] | None = None

    @property
    def has_other_colours(self) -> bool:
        """Return whether the colours are not sRGB according to properties that other formats cannot keep."""
        return self.colours is not None and not (
            self.colours[0] in _SDR_PRIMARIES and self.colours[1] in _SDR_TRANSFERS
        )


def read_main_picture(data: bytes) -> MainPicture:
    """Read the properties of a file's main picture; missing ones have usual values."""
    boxes = dict[bytes, bytes]()
    properties = list[tuple[bytes, bytes]]()
    for path, content in _walk(data, b""):
        if path.startswith(b"meta/iprp/ipco/"):
            properties.append((path[-4:], content))
        else:
            boxes.setdefault(path, content)
    primary = boxes.get(b"meta/pitm", b"")
    number = int.from_bytes(primary[4:8] if primary[:1] == b"\1" else primary[4:6], "big")
    wanted = _associated(boxes.get(b"meta/iprp/ipma", b""), number)
    chosen = [properties[index - 1] for index in wanted if 0 < index <= len(properties)]
    bits = [bit for kind, content in chosen for bit in _bits(kind, content)]
    if not bits:  # a grid of tiles, of which only these tell
        bits = [bit for kind, content in properties for bit in _bits(kind, content)]
    has_profile = any(kind == b"colr" and content[:4] in (b"prof", b"rICC") for kind, content in chosen)
    numbers = [content for kind, content in chosen if kind == b"colr" and content[:4] == b"nclx"]
    colours = None
    if numbers and not has_profile:
        colours = int.from_bytes(numbers[0][4:6], "big"), int.from_bytes(numbers[0][6:8], "big")
    return MainPicture(max(bits, default=8), colours)


def _walk(data: bytes, inside: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield paths and contents of all relevant boxes."""
    position = 0
    while position + 8 <= len(data):
        size, kind, start = int.from_bytes(data[position : position + 4], "big"), data[position + 4 : position + 8], 8
        if size == 1:
            size, start = int.from_bytes(data[position + 8 : position + 16], "big"), 16
        end = position + size if size >= start else len(data)  # 0: up to the end
        path = inside + b"/" + kind if inside else kind
        if kind in _CONTAINERS:
            yield from _walk(data[position + start + _CONTAINERS[kind] : end], path)
        elif inside:
            yield path, data[position + start : end]
        position = end


def _associated(content: bytes, number: int) -> list[int]:
    """Numbers of an item's properties, counted from 1, by the content of an ipma box."""
    if len(content) < 8:
        return []
    is_wide, id_bytes = content[3] & 1, 4 if content[0] else 2
    position, found = 8, list[int]()
    for _ in range(int.from_bytes(content[4:8], "big")):
        if position + id_bytes >= len(content):
            break
        item, count = int.from_bytes(content[position : position + id_bytes], "big"), content[position + id_bytes]
        position += id_bytes + 1
        width = 2 if is_wide else 1
        if item == number:
            entries = (content[position + width * k : position + width * (k + 1)] for k in range(count))
            found += [int.from_bytes(entry, "big") & (0x7FFF if is_wide else 0x7F) for entry in entries]
        position += width * count
    return found


def _bits(kind: bytes, content: bytes) -> list[int]:
    if kind == b"pixi" and len(content) > _FULL:
        return list(content[5 : 5 + content[4]])
    if kind == b"av1C" and len(content) > 2:
        return [12 if content[2] & 0x20 else 10] if content[2] & 0x40 else [8]
    if kind == b"hvcC" and len(content) > 18:
        return [8 + (content[17] & 7), 8 + (content[18] & 7)]
    return []
