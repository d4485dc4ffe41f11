"""Parses the scans of a JPEG file: finds them, missing ones, and flaws around them that affect no pixel.

Source: ITU-T T.81, annex B for the segments, G.1 for progressive scans.
"""

from dataclasses import dataclass

from pipeline.codecs.jpeg_markers import MARKER, START_OF_SCAN, segments

_FRAMES = (0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF)
_PROGRESSIVE = (0xC2, 0xCA)
_END = b"\xff\xd9"
_APPLICATION, _COMMENT = range(0xE0, 0xF0), 0xFE
_JFIF, _ADOBE = 0xE0, 0xEE  # which tell how colours are stored; the others say nothing of pixels
_WHOLE_BLOCK = bytes([0, 63, 0])  # the coefficients of a sequential scan
_ADOBE_TRANSFORM = 15  # where its byte is


@dataclass(frozen=True)
class Scan:
    """One scan.

    Args:
        header: the content of its SOS segment.
        start: of its data in the file.
    """

    header: bytes
    start: int

    def end_in(self, data: bytes) -> int:
        """Return the end of its data in the file."""
        found = MARKER.search(data, self.start)
        return found.start() if found else len(data)

    @property
    def components(self) -> bytes:
        """The numbers of the components in it."""
        return self.header[1 : 1 + 2 * self.header[0] : 2]


@dataclass(frozen=True)
class Picture:
    """Coding of the first picture of a file.

    Args:
        frame: marker of its frame header, 0xC0 … 0xCF; 0 where there is none.
        frame_header: the content of that segment.
        scans: in the order of the file.
    """

    frame: int
    frame_header: bytes
    scans: list[Scan]

    @property
    def missing_scans(self) -> bool:
        """Return whether the file ends before all coefficients of all components have full precision."""
        expected = self.frame_header[6::3]
        if self.frame not in _PROGRESSIVE:
            return not set(expected) <= {number for scan in self.scans for number in scan.components}
        bits_left = {number: [1] * 64 for number in expected}
        for scan in self.scans:
            first, last, precision = scan.header[-3:]
            for number in scan.components:
                bits_left.setdefault(number, [1] * 64)[first : last + 1] = [precision & 15] * (last + 1 - first)
        return any(map(any, bits_left.values()))


def read_frame(data: bytes) -> tuple[int, bytes]:
    """Marker and content of the frame header; 0 and nothing where there is none before the first scan."""
    for marker, start, end in segments(data):
        if marker in _FRAMES:
            return marker, data[start + 4 : end]
        if marker == START_OF_SCAN:
            break
    return 0, b""


def read_picture(data: bytes) -> Picture:
    """The frame and all scans of a file's first picture."""
    frame, frame_header = read_frame(data)
    picture = Picture(frame, frame_header, [])
    for marker, start, end in segments(data):
        if marker != START_OF_SCAN:
            continue
        scan = Scan(data[start + 4 : end], end)
        picture.scans.append(scan)
        if frame not in _PROGRESSIVE and scan.header[:1] == frame_header[5:6]:  # all components: no other scan follows
            break
    return picture


def with_sound_header(data: bytes) -> bytes:
    """Return a file with only the pixels, without flaws that libjpeg warns of though no pixel depends on them.

    These are bytes between segments, version numbers and colour transforms that nobody knows, profiles in pieces that
    do not fit, and the end that is not marked.
    """
    parts, (frame, frame_header) = [data[:2]], read_frame(data)
    for marker, start, end in segments(data):
        segment = bytearray(data[start:end])
        if marker == _JFIF and segment[4:9] == b"JFIF\0" and len(segment) > 9:
            segment[9] = 1
        elif marker == _ADOBE and len(segment) > _ADOBE_TRANSFORM and segment[_ADOBE_TRANSFORM] > 2:
            segment[_ADOBE_TRANSFORM] = 2 if frame_header[5:6] == b"\4" else 1  # as libjpeg takes it
        elif marker == _COMMENT or (marker in _APPLICATION and marker not in (_JFIF, _ADOBE)):
            continue
        elif marker == START_OF_SCAN:
            if frame not in _PROGRESSIVE:
                segment[-3:] = _WHOLE_BLOCK
            rest = data[end:]
            return b"".join(parts) + segment + rest + (b"" if _END in rest else _END)
        parts.append(bytes(segment))
    return data
