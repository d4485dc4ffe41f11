"""Encodings of Arrow values, and points in time beyond Python's."""

import datetime
import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.sources.arrow_values import plain, plain_row, plain_schema, plain_type, time_text

TEXTS, BYTES = ["a" * 30, None, "b"], [b"a" * 30, None, b"b"]
DICTIONARY = pa.dictionary(pa.int8(), pa.string())
VIEWS = pa.array(TEXTS, pa.string_view())
KINDS = {
    "views of text": (VIEWS, pa.string()),
    "views of bytes": (pa.array(BYTES, pa.binary_view()), pa.binary()),
    "a dictionary": (pa.array(TEXTS, DICTIONARY), pa.string()),
    "a dictionary of views": (pa.DictionaryArray.from_arrays(pa.array([0, None, 2]), VIEWS), pa.string()),
    "a struct": (
        pa.array(
            [{"bytes": b"x", "path": None}, None, {"bytes": None, "path": "p"}],
            pa.struct([("bytes", pa.binary_view()), ("path", DICTIONARY)]),
        ),
        pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
    ),
    "a list": (pa.array([["a"], None, []], pa.list_(pa.string_view())), pa.list_(pa.string())),
    "a large list": (pa.array([["a"], None, []], pa.large_list(DICTIONARY)), pa.large_list(pa.string())),
    "a list of one size": (pa.array([["a"], None, ["b"]], pa.list_(pa.string_view(), 1)), pa.list_(pa.string(), 1)),
    "a map": (
        pa.array([[("a", "b")], None, []], pa.map_(pa.string(), pa.string_view())),
        pa.map_(pa.string(), pa.string()),
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_values_are_the_same_without_their_encoding(kind):
    values, expected = KINDS[kind]
    assert plain_type(values.type) == plain(values).type == expected
    assert plain(values).to_pylist() == values.to_pylist()
    assert plain(values.slice(1)).to_pylist() == values.to_pylist()[1:]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.none() | st.fixed_dictionaries({"bytes": st.none() | st.binary(), "path": st.none() | st.text()}), max_size=9
    ),
    st.sampled_from([pa.binary_view(), pa.dictionary(pa.int16(), pa.binary()), pa.binary()]),
    st.sampled_from([pa.string_view(), DICTIONARY, pa.string()]),
)
def test_rows_of_a_file_are_the_same_without_their_encodings(values, of_bytes, of_path):
    table = pa.table({"x": pa.array(values, pa.struct([("bytes", of_bytes), ("path", of_path)]))})
    file = io.BytesIO()
    pq.write_table(table, file)
    rows = [plain_row(row, plain_schema(row.schema)) for row in pq.ParquetFile(file).iter_batches(1)]
    assert [row.column(0)[0].as_py() for row in rows] == values
    assert {row.schema.field(0).type for row in rows} <= {pa.struct([("bytes", pa.binary()), ("path", pa.string())])}


def test_metadata_of_fields_stays():
    field = pa.field("x", pa.string_view(), metadata={"ARROW:extension:name": "mine"})
    row = pa.record_batch([VIEWS], schema=pa.schema([field]))
    assert plain_row(row, plain_schema(row.schema)).schema.field("x").metadata == field.metadata


INFINITY = 9223371331200000000  # of Postgres, in microseconds


@pytest.mark.parametrize(
    ("number", "kind", "text"),
    [
        (0, pa.timestamp("us"), "1970-01-01 00:00:00"),
        (0, pa.timestamp("ms", "Europe/Paris"), "1970-01-01 01:00:00+01:00"),
        (INFINITY, pa.timestamp("us"), "294247-01-02 00:00:00.000000"),
        (INFINITY, pa.timestamp("us", "Europe/Paris"), "294247-01-02 00:00:00.000000+00:00"),
        (-(10**11), pa.timestamp("s"), "-1199-02-15 14:13:20"),
        (1, pa.timestamp("ns"), "1970-01-01 00:00:00.000000001"),
        (2**30, pa.date32(), "2941775-04-07"),
        (10**17, pa.date64(), "3170843-11-07"),
        (1, pa.time64("ns"), "00:00:00.000000001"),
        (10**6, pa.time64("us"), "00:00:01"),
        (1, pa.duration("ns"), "1 nanoseconds"),
        (2**62, pa.duration("s"), "4611686018427387904 seconds"),
    ],
)
def test_any_point_in_time_has_a_text(number, kind, text):
    width = pa.int32() if kind == pa.date32() else pa.int64()
    assert time_text(pa.array([number], width).view(kind)[0]) == text


@given(st.datetimes())
def test_text_of_a_time_that_python_can_hold_is_pythons(when: datetime.datetime):
    assert time_text(pa.scalar(when, pa.timestamp("us"))) == str(when)
