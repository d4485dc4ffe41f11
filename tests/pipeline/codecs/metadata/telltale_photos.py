"""Photos that say, in every place that their formats have, who took them, where and with what; with thumbnails."""

import io
import zlib

import numpy as np
from PIL import Image, ImageCms

from pipeline.codecs.png.chunks import SIGNATURE, framed, read_chunks
from tests.conftest import ROOT
from tests.pipeline.codecs.metadata_formats.test_xmp import packet
from tests.pipeline.codecs.test_removed_stays_removed import framed_segment, resource

PHOTO = Image.open(ROOT / "tests" / "photos" / "images" / "beach.jpg").convert("RGB").resize((96, 64))
THUMBNAIL = io.BytesIO()
PHOTO.resize((32, 24)).save(THUMBNAIL, "JPEG")
SERIAL, LENS, NAME, PLACE, COMMENT = "SN-0815-4711", "LENS-2342", "Erika Mustermann", "Unter den Linden 1", "my comment"
LATITUDE = (52.0, 31.0, 1.23)
SECRETS = (SERIAL, LENS, NAME, PLACE, COMMENT, "secret-key", "Acme", "2024:05:06")
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
NAMED = (
    'xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" '
    'xmlns:aux="http://ns.adobe.com/exif/1.0/aux/" xmlns:xmpMM="http://ns.adobe.com/xap/1.0/mm/" '
    'xmlns:stEvt="http://ns.adobe.com/xap/1.0/sType/ResourceEvent#"'
)
XMP = packet(
    f'<rdf:Description rdf:about="" {NAMED} photoshop:City="{PLACE}" aux:SerialNumber="{SERIAL}">'
    f"<dc:creator><rdf:Seq><rdf:li>{NAME}</rdf:li></rdf:Seq></dc:creator>"
    '<xmpMM:History><rdf:Seq><rdf:li stEvt:action="created" stEvt:softwareAgent="Acme"/></rdf:Seq></xmpMM:History>'
    "</rdf:Description>"
)
IPTC = b"".join(
    b"\x1c\x02" + bytes((dataset,)) + len(value).to_bytes(2, "big") + value.encode()
    for dataset, value in ((80, NAME), (90, PLACE))
)
RESOURCES = resource(1028, IPTC) + resource(1036, bytes(28) + THUMBNAIL.getvalue())


def exif_tags() -> Image.Exif:
    tags = Image.Exif()
    tags[271], tags[272], tags[274], tags[315], tags[33432] = (
        "Acme",
        "Model X",
        6,
        NAME,
        f"© {NAME}".encode().decode("latin-1"),
    )
    tags[282], tags[283], tags[296] = 300.0, 300.0, 2
    photo = tags.get_ifd(0x8769)
    photo[0xA431], photo[0xA435], photo[0xA430], photo[0xA001] = SERIAL, LENS, NAME, 0xFFFF
    photo[0x9003], photo[0x9286] = "2024:05:06 07:08:09", b"ASCII\0\0\0" + COMMENT.encode()
    photo[0x927C] = b"Acme\0 " + SERIAL.encode() + THUMBNAIL.getvalue() + b" end"
    photo[0xA005] = {1: "R03"}
    tags[0x8769] = 0
    gps = tags.get_ifd(0x8825)
    gps[1], gps[2], gps[3], gps[4] = "N", LATITUDE, "E", (13.0, 22.0, 44.5)
    tags[0x8825] = 0
    return tags


def exif_bytes() -> bytes:
    """EXIF with a thumbnail in a second directory."""
    exif = bytearray(exif_tags().tobytes()[6:])
    order = "little" if exif.startswith(b"II") else "big"
    link = 8 + 2 + 12 * int.from_bytes(exif[8:10], order)
    second, picture = len(exif), THUMBNAIL.getvalue()
    entries = ((513, second + 2 + 24 + 4), (514, len(picture)))
    directory = b"".join(
        tag.to_bytes(2, order) + (4).to_bytes(2, order) + (1).to_bytes(4, order) + value.to_bytes(4, order)
        for tag, value in entries
    )
    exif[link : link + 4] = second.to_bytes(4, order)
    return b"Exif\0\0" + bytes(exif) + (2).to_bytes(2, order) + directory + bytes(4) + picture


def _saved(container: str, **options) -> bytes:
    file = io.BytesIO()
    PHOTO.save(file, container, icc_profile=PROFILE, **options)
    return file.getvalue()


def jpeg_photo(**options) -> bytes:
    plain = _saved("JPEG", dpi=(300, 300), quality=88, **options)
    own = (
        framed_segment(0xE1, exif_bytes()),
        framed_segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP),
        framed_segment(0xED, b"Photoshop 3.0\0" + RESOURCES),
        framed_segment(0xFE, COMMENT.encode()),
    )
    return plain[:20] + b"".join(own) + plain[20:]


def png_photo() -> bytes:
    header, *rest = read_chunks(_saved("PNG", dpi=(300, 300)))
    own = (
        (b"eXIf", exif_bytes()[6:]),
        (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(XMP)),
        (b"tEXt", b"Author\0" + NAME.encode()),
        (b"zTXt", b"Comment\0\0" + zlib.compress(COMMENT.encode())),
        (b"prVt", b"secret-key"),
    )
    return SIGNATURE + b"".join(map(framed, (header, *own, *rest)))


def tiff_photo() -> bytes:
    tags = exif_tags()
    tags[700], tags[33723], tags[34377] = XMP, IPTC, RESOURCES
    return _saved("TIFF", exif=tags, dpi=(300, 300))


PHOTOS = {
    "jpeg": jpeg_photo(),
    "progressive jpeg": jpeg_photo(progressive=True, subsampling=2),
    "png": png_photo(),
    "webp": _saved("WEBP", quality=80, exif=exif_bytes(), xmp=XMP),
    "lossless webp": _saved("WEBP", lossless=True, exif=exif_bytes(), xmp=XMP),
    "tiff": tiff_photo(),
}
HOLE = np.zeros((64, 96), bool)
HOLE[20:40, 30:50] = True
