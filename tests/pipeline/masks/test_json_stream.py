import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.masks import json_stream
from pipeline.masks.json_stream import read_arrays

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=8,
)


@settings(deadline=None, max_examples=30)
@given(
    content=st.dictionaries(st.sampled_from(["info", "images", "annotations", "more"]), st.lists(VALUES, max_size=5)),
    chunk_bytes=st.integers(1, 40),
    form=st.sampled_from([{}, {"indent": 2}, {"ensure_ascii": False, "separators": (",", ":")}]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]),
)
def test_elements_are_those_that_the_whole_file_has(content, chunk_bytes, form, encoding):
    data = json.dumps(content, **form).encode(encoding, "surrogatepass")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_stream, "CHUNK_BYTES", chunk_bytes)
        found = list(read_arrays(io.BytesIO(data), [], ["images", "annotations"]))
    assert found == [(key, value) for key in content if key in ("images", "annotations") for value in content[key]]


def test_no_more_than_a_part_of_the_file_is_held():
    class Endless(io.RawIOBase):
        """An array of a million objects; counts what is read of it."""

        read_bytes = 0

        def read(self, size=-1):
            start = b'{"images": [' if not self.read_bytes else b""
            data = start + b'{"id": 123456789},' * (size // 18 - 1)
            self.read_bytes += len(data)
            return data

    file = Endless()
    elements = read_arrays(file, ["images"], [])
    for _ in range(200_000):
        assert next(elements) == ("images", {"id": 123456789})
    assert file.read_bytes < 200_000 * 18 + 3 * json_stream.CHUNK_BYTES


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "3",
        '{"a": [1, 2',
        '{"a": [1 2]}',
        '{"a": [1]} x',
        '{"a" [1]}',
        '{"a": 3}',
        '{"b": [1]}',
        '{"a": [1],}',
    ],
)
def test_what_is_no_such_object_is_an_error(text):
    with pytest.raises(ValueError):
        list(read_arrays(io.BytesIO(text.encode()), ["a"], []))
