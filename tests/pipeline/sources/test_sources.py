import doctest

import pytest

import pipeline.sources.base as sources
from pipeline.config.job import JobConfig
from pipeline.errors import ConfigError
from pipeline.sources.base import ImageFolder, glob_pattern
from pipeline.sources.wanted import wanted_by
from pipeline.storage.storage import Storage


def test_documented_example_holds():
    assert doctest.testmod(sources).failed == 0


@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [
        ("**/*", ["a.jpg", "b/c/d.png"], []),
        ("*", ["a.jpg"], ["b/a.jpg"]),
        ("*/x?.png", ["b/x1.png"], ["x1.png", "b/c/x1.png", "b/x12.png"]),
        ("b/**", ["b/a.jpg", "b/c/a.jpg"], ["a.jpg"]),
        ("[!a]*.jpg", ["b.jpg"], ["a.jpg", "/.jpg"]),
        ("a+b (1).jpg", ["a+b (1).jpg"], ["aab (1).jpg"]),
    ],
)
def test_glob(pattern, matching, other):
    match = glob_pattern(pattern).fullmatch
    assert all(map(match, matching)) and not any(map(match, other))


def test_folder_lists_images_recursively_and_nothing_else(tmp_path):
    names = [
        "a.JPG",
        "deep/er/b.png",
        "deep/c.webp",
        "notes.txt",
        "CREDITS.tsv",
        ".hidden.jpg",
        "deep/.hidden.jpg",
        "d",
        "jpg",
    ]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    source = ImageFolder(wanted_by(JobConfig()), Storage(str(tmp_path)))
    assert sorted(found.sample_id for found in source.samples(source.files())) == [
        "a.JPG",
        "deep/c.webp",
        "deep/er/b.png",
    ]


def test_nothing_at_the_uri_is_a_configuration_error(tmp_path):
    with pytest.raises(ConfigError, match=r"source.uri: nothing at .*/none"):
        list(ImageFolder(wanted_by(JobConfig()), Storage(str(tmp_path / "none"))).files())
