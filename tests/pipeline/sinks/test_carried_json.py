"""Carried columns as JSON: nothing is changed unsaid, and what JSON cannot hold is named."""

import json
import uuid

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import SampleError
from pipeline.sinks.carried_json import as_json, split_row

TENSORS = pa.FixedShapeTensorArray.from_numpy_ndarray(np.arange(4.0).reshape(1, 2, 2))


def described(values: pa.Array, name: str = "x") -> object:
    """The value of a column in the JSON of its sample."""

    def refuse(word):
        raise AssertionError(word)

    members, found = split_row(pa.record_batch({name: values}))
    assert members == {}
    return json.loads(as_json(found), parse_constant=refuse).get(name)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pa.array([None], pa.string()), None),
        (pa.array([float("nan")]), None),
        (pa.array([[1.5, float("nan")]]), [1.5, None]),
        (pa.array([{"a": [{"b": 2**63 - 1}], "c": True}]), {"a": [{"b": 2**63 - 1}], "c": True}),
        (pa.array([9223371331200000000], pa.timestamp("us")), "294247-01-02 00:00:00.000000"),
        (pa.array([[{"at": 0}]], pa.list_(pa.struct([("at", pa.timestamp("s"))]))), [{"at": "1970-01-01 00:00:00"}]),
        (pa.array([1], pa.time64("ns")), "00:00:00.000000001"),
        (pa.array(["1.50"]).cast(pa.decimal128(9, 2)), "1.50"),
        (pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int8())), [["a", 1]]),
        (pa.array([(1, 2, 3)], pa.month_day_nano_interval()), [1, 2, 3]),
        (pa.array([1.5]).cast(pa.float16()), 1.5),
        (TENSORS, [[0.0, 1.0], [2.0, 3.0]]),
        (pa.array([uuid.UUID(int=7).bytes], pa.uuid()), str(uuid.UUID(int=7))),
    ],
)
def test_value_is_what_json_has_for_it(values, expected):
    assert described(values) == expected


@pytest.mark.parametrize(
    "values",
    [
        pa.array([float("inf")]),
        pa.array([[1.0, float("-inf")]]),
        pa.array([{"bytes": b"x"}]),
        pa.array([[b"x"]]),
        pa.array([b"\xff"]).view(pa.string()),
    ],
)
def test_value_that_json_cannot_hold_is_refused_by_its_column(values):
    with pytest.raises(SampleError, match=r"sink\.carry: the value of score does not go into the JSON"):
        split_row(pa.record_batch({"score": values}))


@pytest.mark.parametrize("text", [b"{", b"", b"\xff", b"[" * 100_000, b"Infinity", b"1e999"])
def test_json_that_is_none_is_refused_by_its_column(text):
    with pytest.raises(SampleError, match="the value of json"):
        split_row(pa.record_batch({"json": [text]}))


@pytest.mark.parametrize(
    ("text", "expected"), [('{"a": NaN}', {"a": None}), (r'"\ud800"', "\ud800"), (b"[1]", [1]), ("null", None)]
)
def test_json_is_taken_for_what_it_says(text, expected):
    assert described(pa.array([text]), "json") == expected


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.binary(2)])
def test_bytes_are_a_member(kind):
    assert split_row(pa.record_batch({"x": pa.array([b"ab"], kind)})) == ({"x": b"ab"}, {})


def test_bytes_whose_name_would_make_a_folder_are_refused():
    with pytest.raises(SampleError, match="its name has a slash"):
        split_row(pa.record_batch({"../x": [b"ab"]}))


_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_infinity=False, allow_nan=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(_VALUES)
def test_json_of_a_sample_comes_back_as_it_was(value):
    assert described(pa.array([json.dumps(value)]), "json") == value
