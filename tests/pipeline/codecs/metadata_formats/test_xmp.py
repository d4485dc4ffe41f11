"""XMP loses what announces missing parts of a file, and nothing else."""

import time

import pytest

from pipeline.codecs.metadata_formats.xmp import still_true

HEAD = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
HEAD += '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">\n'
TAIL = '</rdf:RDF></x:xmpmeta>\n    \n<?xpacket end="w"?>'
CAMERA = 'xmlns:c="http://ns.google.com/photos/1.0/camera/"'
GAIN = 'xmlns:g="http://ns.adobe.com/hdr-gain-map/1.0/"'
CONTAINER = 'xmlns:Container="http://ns.google.com/photos/1.0/container/"'
XAP = 'xmlns:xmp="http://ns.adobe.com/xap/1.0/"'


def packet(inner: str) -> bytes:
    return (HEAD + inner + TAIL).encode()


CHANGED = {
    "attribute": (f'<d {CAMERA} c:MotionPhoto="1" c:Burst="a&gt;"/>', f'<d {CAMERA} c:Burst="a&gt;"/>'),
    "other quotes": (f"<d {CAMERA} c:MicroVideoOffset = '9>'\n\tc:Burst='x'></d>", f"<d {CAMERA}\n\tc:Burst='x'></d>"),
    "element": (f"<d {CAMERA}>\n<c:MicroVideo>1</c:MicroVideo><c:A/></d>", f"<d {CAMERA}>\n<c:A/></d>"),
    "empty element": (f"<d {CAMERA}><c:MicroVideo /><c:A/></d>", f"<d {CAMERA}><c:A/></d>"),
    "last empty element": (f"<d {CAMERA}><c:MicroVideo a='>'/></d>", f"<d {CAMERA}></d>"),
    "end of an empty tag as text": (f"<d {CAMERA}><c:MicroVideo>/></c:MicroVideo></d>", f"<d {CAMERA}></d>"),
    "namespace": (f'<d {GAIN} g:Version="1.0" a="é"/>', '<d a="é"/>'),
    "directory": (
        f'<d {CONTAINER}><Container:Directory><b a="1"><Container:Item/>é</b></Container:Directory><k/></d>',
        "<d><k/></d>",
    ),
    "own prefix within": (f"<d><g:Version {GAIN}>1</g:Version></d>", "<d></d>"),
    "thumbnails": (
        f'<d {XAP} xmp:Rating="5"><xmp:Thumbnails>AAAA</xmp:Thumbnails></d>',
        f'<d {XAP} xmp:Rating="5"></d>',
    ),
    "signature": (
        '<d xmlns:t="http://purl.org/dc/terms/" t:provenance="x"/>',
        '<d xmlns:t="http://purl.org/dc/terms/"/>',
    ),
    "extension": (
        '<d xmlns:n="http://ns.adobe.com/xmp/note/" n:HasExtendedXMP="AB"/>',
        '<d xmlns:n="http://ns.adobe.com/xmp/note/"/>',
    ),
}


@pytest.mark.parametrize("case", CHANGED)
@pytest.mark.parametrize("end", [b"", b"\0"])
def test_what_is_untrue_goes_and_the_rest_stays_to_the_byte(case, end):
    before, after = map(packet, CHANGED[case])
    assert still_true(before + end) == after + end


@pytest.mark.parametrize(
    "xmp",
    [
        packet(f'<d {XAP} {CAMERA} xmp:Rating="5" c:Burst="MotionPhoto"/>'),  # a value, no name
        packet("<d a='1'\n b=\"2\"><!-- g:Version --><![CDATA[<g:Version>]]></d>"),
        b"no xml at all",
        b"",
        packet('<d x="1">')[:-20],
        '<x a="é"/>'.encode("utf-16"),
    ],
)
def test_what_says_nothing_of_that_stays_to_the_byte(xmp):
    assert still_true(xmp) == xmp


def test_second_part_stays_announced_where_it_is_kept():
    xmp = packet(CHANGED["extension"][0])
    assert still_true(xmp, has_extension=True) == xmp


@pytest.mark.parametrize(
    "xmp",
    [
        packet(CHANGED["attribute"][0])[:-9],
        packet(CHANGED["attribute"][0]) + b"and more",
        (HEAD + CHANGED["attribute"][0] + TAIL).encode("utf-16"),
        (HEAD + CHANGED["directory"][0] + TAIL).encode("utf-16-be"),
        packet('<d c:MotionPhoto="1"/>'),  # of no namespace
        b"<!DOCTYPE d [<!ENTITY a 'b'>]>" + b"<d MotionPhoto='1'>&a;</d>",
    ],
)
def test_untrue_xmp_that_cannot_be_read_is_dropped(xmp):
    assert still_true(xmp) == b""


def test_entities_are_never_expanded():
    entities = "".join(f'<!ENTITY e{i} "{f"&e{i - 1};" * 10}">' for i in range(1, 12))
    bomb = f'<!DOCTYPE d [<!ENTITY e0 "ha">{entities}]><d>&e11;</d>'.encode()
    started = time.perf_counter()
    assert still_true(bomb) == bomb
    assert time.perf_counter() - started < 1
