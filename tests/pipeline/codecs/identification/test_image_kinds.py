import doctest

import pytest

import pipeline.codecs.identification.kinds
from pipeline.codecs.identification.kinds import is_image, kind_of, split_extension


def test_documented_example_holds():
    assert doctest.testmod(pipeline.codecs.identification.kinds).failed == 0


@pytest.mark.parametrize(
    "name", ["a.JPG", "a.mpo", "a.pjpeg", "a.PJP", "a.dib", "a.apng", "a.avif", "a.AVIFS", "a.HEIC"]
)
def test_extensions_that_decoders_know_are_those_of_images(name):
    assert is_image(name) and is_image(f"b.c/{name}") and split_extension(name)[0] == "a"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.PSD", ".psd"),
        ("x.y/README", "without extension"),
        ("St. Moritz at noon", "without extension"),
        ("1.2.840.10008.5", "without extension"),
        ("a.jpg_large", ".jpg_large"),
        ("folder marker/", "without extension"),
        ("x.TAR.bz2", ".tar.bz2"),
    ],
)
def test_kind_of_other_files(name, kind):
    assert kind_of(name) == kind
