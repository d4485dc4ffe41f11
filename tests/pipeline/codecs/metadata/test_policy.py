"""``sink.metadata``: what results say beside their pixels, as an independent reader (Exiv2) sees it."""

import io
import struct

import numpy as np
import pyexiv2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline.codecs.decode import decode
from pipeline.codecs.encode import check_encodable, encode_filled
from pipeline.codecs.metadata.policy import passed_through, with_policy
from pipeline.codecs.metadata.provenance import COMPUTED, INPAINTED, SOFTWARE
from pipeline.containers import METADATA_POLICIES
from pipeline.errors import SampleError
from tests.conftest import saved, textured
from tests.pipeline.codecs.metadata.telltale_photos import HOLE, LATITUDE, PHOTOS, PROFILE, SECRETS, THUMBNAIL
from tests.pipeline.codecs.metadata_formats.test_xmp import packet
from tests.pipeline.codecs.test_codec import LOSSLESS, LOSSY
from tests.pipeline.codecs.test_removed_stays_removed import extension, framed_segment, jpeg

LIMIT = 10**6
XMP_NAME = b"http://ns.adobe.com/xap/1.0/\0"
SOURCE_TYPE = "Xmp.iptcExt.DigitalSourceType"
COMPOSITE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
NEEDED = {
    *("Exif.Image.Orientation", "Exif.Image.XResolution", "Exif.Image.YResolution", "Exif.Image.ResolutionUnit"),
    *("Exif.Image.ExifTag", "Exif.Photo.ColorSpace", "Exif.Photo.InteroperabilityTag"),
    "Exif.Iop.InteroperabilityIndex",
}
TIFF_STRUCTURE = (
    *("ImageWidth", "ImageLength", "BitsPerSample", "Compression", "PhotometricInterpretation", "StripOffsets"),
    *("SamplesPerPixel", "RowsPerStrip", "StripByteCounts", "PlanarConfiguration", "InterColorProfile"),
)
KINDS = LOSSLESS | LOSSY
FORMATS = ("source", "png", "webp", "jpeg")
both = pytest.mark.parametrize(("case", "image_format"), [(case, name) for case in PHOTOS for name in FORMATS])


def filled(data: bytes, policy: str, image_format: str = "source", provenance=INPAINTED) -> tuple[bytes, str | None]:
    photo = decode(data, LIMIT)
    pixels = photo.pixels.copy()
    hole = HOLE if HOLE.shape == pixels.shape[:2] else np.ones(pixels.shape[:2], bool)
    pixels[hole] = 128
    container = check_encodable(photo, image_format)
    photo, note = with_policy(photo, container, policy, provenance)
    return encode_filled(photo, pixels, image_format, data, hole)[0], note


def pixels_of(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


def read(data: bytes) -> tuple[dict, dict, dict]:
    """EXIF, IPTC and XMP by Exiv2."""
    with pyexiv2.ImageData(data) as image:
        return image.read_exif(), image.read_iptc(), image.read_xmp()


def secrets_in(data: bytes) -> list[str]:
    """Traces of photographer, camera, place and old picture in a file, packed or not."""
    image = Image.open(io.BytesIO(data))
    said = data + repr(image.info).encode()
    found = [secret for secret in SECRETS if secret.encode() in said]
    for order in "<>":
        gps = struct.pack(f"{order}4I", int(LATITUDE[0]), 1, int(LATITUDE[1]), 1)
        found += ["coordinates"] * (gps in said)
    return found + ["thumbnail"] * (THUMBNAIL.getvalue()[20:400] in said)


@both
def test_private_result_says_nothing_of_people_places_cameras_and_the_old_picture(case, image_format):
    kept, _ = filled(PHOTOS[case], "keep", image_format)
    told = secrets_in(kept)
    assert {"Erika Mustermann", "SN-0815-4711", "coordinates"} <= {*told} and "thumbnail" not in told
    data, note = filled(PHOTOS[case], "private", image_format)
    assert secrets_in(data) == [] and note is None
    exif, iptc, xmp = read(data)
    structure = {f"Exif.Image.{name}" for name in TIFF_STRUCTURE if image_format == "source" and case == "tiff"}
    assert exif.keys() <= NEEDED | structure and not iptc and not xmp


@both
def test_private_result_looks_the_same(case, image_format):
    kept, _ = filled(PHOTOS[case], "keep", image_format)
    data, _ = filled(PHOTOS[case], "private", image_format)
    assert np.array_equal(pixels_of(data), pixels_of(kept))
    image = Image.open(io.BytesIO(data))
    assert image.info["icc_profile"] == PROFILE and image.getexif()[274] == 6
    assert ("dpi" in image.info) == ("dpi" in Image.open(io.BytesIO(kept)).info)
    assert image.info.get("dpi", (300, 300)) == pytest.approx((300, 300), rel=0.01)
    if image.format != "TIFF" and case != "tiff":
        assert image.getexif().get_ifd(0x8769)[0xA001] == 0xFFFF and image.getexif().get_ifd(0xA005) == {1: "R03"}


@both
def test_marked_result_says_so_and_keeps_everything_else(case, image_format):
    kept, _ = filled(PHOTOS[case], "keep", image_format)
    data, note = filled(PHOTOS[case], "mark", image_format)
    assert note is None and filled(PHOTOS[case], "mark", image_format)[0] == data
    assert np.array_equal(pixels_of(data), pixels_of(kept))
    (exif, iptc, before), (marked_exif, marked_iptc, xmp) = read(kept), read(data)
    moved = (
        "Exif.Image.ExifTag",
        "Exif.Image.GPSTag",
        "Exif.Image.XMLPacket",
        "Exif.Image.Strip",
        "Exif.Photo.Interop",
    )
    assert exif.keys() == marked_exif.keys()
    assert all(marked_exif[key] == value for key, value in exif.items() if not key.startswith(moved))
    assert marked_iptc == iptc
    assert xmp[SOURCE_TYPE] == COMPOSITE
    assert xmp["Xmp.xmpMM.History[1]/stEvt:action"] == "created"
    assert xmp["Xmp.xmpMM.History[2]/stEvt:action"] == "edited"
    assert xmp["Xmp.xmpMM.History[2]/stEvt:softwareAgent"] == SOFTWARE
    assert xmp["Xmp.dc.creator"] == before["Xmp.dc.creator"] == ["Erika Mustermann"]
    assert all(xmp[key] == value for key, value in before.items())


@pytest.mark.parametrize("container", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("image_format", FORMATS)
def test_photo_without_metadata_is_marked(container, image_format):
    data, note = filled(saved(Image.fromarray(textured(40, 60)), container), "mark", image_format)
    _, _, xmp = read(data)
    assert note is None and xmp[SOURCE_TYPE] == COMPOSITE
    assert "Xmp.xmpMM.History[1]/stEvt:when" not in xmp


@pytest.mark.parametrize("container", ["BMP", "PPM"])
def test_format_without_room_for_a_mark_says_so(container):
    data, note = filled(saved(Image.fromarray(textured(40, 60)), container), "mark")
    assert note == f"not marked: {container} has no room for XMP"
    assert filled(saved(Image.fromarray(textured(40, 60)), container), "private") == (data, None)


def typed(value: str) -> bytes:
    space = 'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
    value = f"<Iptc4xmpExt:DigitalSourceType>{value}</Iptc4xmpExt:DigitalSourceType>"
    return packet(f'<rdf:Description rdf:about="" {space}>{value}</rdf:Description>')


@pytest.mark.parametrize(
    ("before", "provenance", "after"),
    [
        ("digitalCapture", INPAINTED, "compositeWithTrainedAlgorithmicMedia"),
        ("algorithmicallyEnhanced", INPAINTED, "compositeWithTrainedAlgorithmicMedia"),
        ("compositeWithTrainedAlgorithmicMedia", INPAINTED, "compositeWithTrainedAlgorithmicMedia"),
        ("trainedAlgorithmicMedia", INPAINTED, "trainedAlgorithmicMedia"),
        ("compositeWithTrainedAlgorithmicMedia", COMPUTED, "compositeWithTrainedAlgorithmicMedia"),
        ("digitalCapture", COMPUTED, "algorithmicallyEnhanced"),
    ],
)
def test_stronger_source_type_stays_and_a_weaker_one_is_named_in_the_history(before, provenance, after):
    base = "http://cv.iptc.org/newscodes/digitalsourcetype/"
    data, _ = filled(jpeg((0xE1, XMP_NAME + typed(base + before))), "mark", provenance=provenance)
    _, _, xmp = read(data)
    assert xmp[SOURCE_TYPE] == base + after
    assert (f"was {base}{before}" in xmp["Xmp.xmpMM.History[1]/stEvt:parameters"]) == (before != after)


UNREADABLE = {
    "no XML": b"no xml at all",
    "cut": packet("<d/>")[:-30],
    "document type": b"<!DOCTYPE d [<!ENTITY a 'b'>]>" + packet("<d/>"),
    "UTF-16": packet("<d/>").decode().encode("utf-16"),
    "no RDF": b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>",
    "history without a sequence": packet(
        '<rdf:Description xmlns:m="http://ns.adobe.com/xap/1.0/mm/"><m:History>saved</m:History></rdf:Description>'
    ),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_xmp_that_cannot_be_extended_stays_and_the_row_says_so(case):
    data, note = filled(jpeg((0xE1, XMP_NAME + UNREADABLE[case])), "mark")
    assert note == "not marked: its XMP cannot be read"
    assert framed_segment(0xE1, XMP_NAME + UNREADABLE[case]) in data


def test_second_part_of_xmp_that_would_say_it_twice_is_not_contradicted():
    note = 'xmlns:n="http://ns.adobe.com/xmp/note/" n:HasExtendedXMP="' + "A" * 32 + '"'
    main = (0xE1, XMP_NAME + packet(f"<rdf:Description {note}/>"))
    harmless = jpeg(main, *extension(packet("<d>long</d>")))
    assert filled(harmless, "mark")[1] is None
    assert all(framed_segment(*part) in filled(harmless, "mark")[0] for part in extension(packet("<d>long</d>")))
    data, note = filled(jpeg(main, *extension(packet("<History/>"))), "mark")
    assert note == "not marked: its XMP cannot be read" and b"DigitalSourceType" not in data


@pytest.mark.parametrize(("padding", "text", "is_marked"), [(64000, 100, True), (100, 65000, False)])
def test_long_xmp_of_a_jpeg_gives_up_its_padding_or_the_row_says_so(padding, text, is_marked):
    head, end = packet(f'<rdf:Description xmlns:a="b" a:c="{"x" * text}"/>').rsplit(b"<?xpacket", 1)
    xmp = head + b" " * padding + b"<?xpacket" + end
    data, note = filled(jpeg((0xE1, XMP_NAME + xmp)), "mark")
    assert note == (None if is_marked else "not marked: its XMP leaves no room in a JPEG")
    assert (SOURCE_TYPE in read(data)[2]) == is_marked and b"x" * text in data


def test_metadata_too_long_for_a_jpeg_is_told():
    long = Image.Exif()
    long[274], long[270] = 6, "x" * 70000
    data = saved(Image.fromarray(textured(40, 60)), "PNG", exif=long)
    assert filled(data, "keep", "jpeg")[1] == "only orientation kept: its EXIF leaves no room in a JPEG"
    assert filled(data, "keep", "png")[1] is None


@pytest.mark.parametrize("case", KINDS)
def test_policies_change_no_pixel_of_any_kind_of_image(case):
    for image_format in FORMATS:
        found = []
        for policy in METADATA_POLICIES:
            try:
                found.append(decode(filled(KINDS[case], policy, image_format)[0], LIMIT).pixels)
            except SampleError as error:  # whatever the format cannot hold
                found.append(np.frombuffer(str(error).encode(), np.uint8))
        assert all(np.array_equal(pixels, found[0]) for pixels in found)


@pytest.mark.parametrize("case", PHOTOS)
def test_photo_without_a_hole_is_private_too_and_keeps_its_pixels(case):
    source = PHOTOS[case]
    photo = decode(source, LIMIT)
    assert passed_through(photo, source, "keep") == passed_through(photo, source, "mark") == source
    data = passed_through(photo, source, "private")
    if data is None:
        photo, _ = with_policy(photo, photo.format, "private", None)
        data, _, changed = encode_filled(photo, photo.pixels, "source", source, np.zeros((64, 96), bool))
        assert changed == (0 if photo.format == "JPEG" else None)
    assert secrets_in(data) == [] and np.array_equal(pixels_of(data), pixels_of(source))
    image = Image.open(io.BytesIO(data))
    assert image.info["icc_profile"] == PROFILE and image.getexif()[274] == 6


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(sorted(PHOTOS)),
    st.sampled_from(["keep", "mark", "private"]),
    st.sampled_from(["source", "png", "jpeg"]),
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=6),
)
@pytest.mark.filterwarnings("ignore")
def test_damaged_metadata_ends_in_a_sound_file_or_a_failed_row(case, policy, image_format, changes):
    source = bytearray(PHOTOS[case])
    start, end = _metadata_span(source)
    for place, value in changes:
        source[start + place % (end - start)] = value
    try:
        before = decode(bytes(source), LIMIT)
        data, note = filled(bytes(source), policy, image_format)
    except SampleError:
        return
    after = decode(data, LIMIT)
    assert after.pixels.shape == before.pixels.shape
    if policy == "private":
        assert secrets_in(data) == [] and Image.open(io.BytesIO(data)).getexif() is not None
    if policy == "mark" and note is None:
        assert b"compositeWithTrainedAlgorithmicMedia" in data


def _metadata_span(data: bytearray) -> tuple[int, int]:
    """Where EXIF, XMP and all other metadata lie, roughly."""
    marks = [data.find(text) for text in (b"Acme", b"xpacket", b"http://ns.adobe.com", b"8BIM") if data.find(text) > 0]
    return max(min(marks) - 200, 20), min(max(marks) + 1200, len(data))
