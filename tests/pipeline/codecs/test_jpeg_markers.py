from pipeline.codecs.jpeg_markers import header_segments, segments


def segment(marker: int, content: bytes = b"x") -> bytes:
    return bytes((0xFF, marker)) + (len(content) + 2).to_bytes(2, "big") + content


START, SCAN, END = b"\xff\xd8", segment(0xDA) + b"\x01\xff\x00\xff\xd0\x02", b"\xff\xd9"


def test_padding_between_segments_belongs_to_none():
    data = START + segment(0xE0) + b"\xff\xff" + segment(0xE1) + SCAN + END
    assert [marker for marker, _, _ in header_segments(data)] == [0xE0, 0xE1]
    assert [marker for marker, _, _ in segments(data)] == [0xE0, 0xE1, 0xDA]
    assert all(data[start] == 0xFF and data[start + 1] == marker for marker, start, _ in segments(data))


def test_header_ends_at_junk_that_the_picture_goes_on_behind():
    data = START + segment(0xE0) + b"junk" + segment(0xC0) + SCAN + segment(0xC4) + SCAN + END + segment(0xE1)
    assert [marker for marker, _, _ in header_segments(data)] == [0xE0]
    assert [marker for marker, _, _ in segments(data)] == [0xE0, 0xC0, 0xDA, 0xC4, 0xDA]


def test_segment_that_is_cut_short_is_no_segment_of_the_header():
    data = START + segment(0xE0) + segment(0xE1, bytes(100))[:50]
    assert [marker for marker, _, _ in header_segments(data)] == [0xE0]
