from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ConfigError
from pipeline.manifest.log import Manifest
from pipeline.records import FAILED, OK, UNCHANGED, Record, to_table
from pipeline.review.draw import allocate, draw_sample
from pipeline.storage.storage import Storage


@pytest.fixture(scope="module")
def sink(tmp_path_factory) -> Storage:
    """Rows of 1000 results, of which 20 are suspicious and 30 unchanged, and of 50 failed samples."""
    storage = Storage(str(tmp_path_factory.mktemp("sink")))
    manifest = Manifest(storage)
    manifest.load(["sample_id"])
    rows = []
    for index in range(1050):
        status = FAILED if index >= 1000 else UNCHANGED if index >= 970 else OK
        score, fraction = (index * 37 % 970 / 100, index * 71 % 970 / 2000) if status == OK else (None, 0.0)
        suspicious = "flat" if index < 20 else None
        sample_id = f"{'ab'[index % 2]}/{index:04}.jpg"
        rows.append(
            Record(
                sample_id, status, seam_score=score, mask_fraction=fraction, suspicious=suspicious, output_sha256="h"
            )
        )
    manifest.append(to_table(rows))
    return storage


def test_sample_is_the_same_each_time_and_another_one_with_another_seed(sink):
    first, again, other = (draw_sample(sink, None, None, 100, seed) for seed in (0, 0, 1))
    names = [[row["sample_id"] for row in draw.rows] for draw in (first, again, other)]
    assert names[0] == names[1] and first.round == again.round
    assert set(names[0]) != set(names[2]) and first.round != other.round
    assert len(set(names[0])) == 100 and names[0] != sorted(names[0])


def test_small_strata_get_more_than_their_share_and_failed_samples_are_left_out(sink):
    draw = draw_sample(sink, None, None, 100, 0)
    drawn = Counter(row["stratum"] for row in draw.rows)
    assert draw.population_rows == 1000 and draw.strata["suspicious"] == 20 and draw.strata["unchanged"] == 30
    assert drawn.keys() == draw.strata.keys() and len(drawn) == 8
    assert drawn["suspicious"] > 2 and drawn["seam in the lower half, large hole"] > drawn["suspicious"]
    assert {row["status"] for row in draw.rows} == {OK, UNCHANGED}


def test_condition_and_strata_are_those_of_the_expressions(sink):
    draw = draw_sample(sink, "seam_score > 9", "left(sample_id, 1)", 20, 0)
    assert draw.strata.keys() == {"a", "b"} and draw.population == "seam_score > 9" and len(draw.rows) == 20
    assert all(row["seam_score"] > 9 and row["sample_id"].startswith(row["stratum"]) for row in draw.rows)
    design = draw.design(draw.rows[0])
    assert design["population_rows"] == sum(draw.strata.values()) and design["stratum_rows"] in draw.strata.values()


def test_few_results_are_drawn_from_one_stratum_rather_than_none_from_some(sink):
    draw = draw_sample(sink, None, None, 3, 0)
    assert dict(draw.strata) == {"all": 1000} and len(draw.rows) == 3


@pytest.mark.parametrize(
    ("where", "by", "message"),
    [
        ("seem_score > 1", None, "^--where='seem_score > 1': Binder Error"),
        ("true); DROP TABLE rows; SELECT (true", None, "^--where=.*must be one expression"),
        (None, "left(sample_id", "^--by=.*Parser Error"),
        ("sample_id IN (SELECT content FROM read_text('/etc/hostname'))", None, "disabled by configuration"),
        (None, "sample_id", "^--by='sample_id' makes 1000 strata, --count 100 is less"),
        ("seam_score > 100", None, "holds no result where seam_score > 100"),
    ],
)
def test_faulty_expression_is_refused(sink, where, by, message):
    with pytest.raises(ConfigError, match=message):
        draw_sample(sink, where, by, 100, 0)


@given(st.dictionaries(st.text(), st.integers(1, 10**7), min_size=1, max_size=20), st.integers(0, 500))
def test_shares_add_up_and_none_is_empty_or_larger_than_its_stratum(strata, more):
    count = len(strata) + more
    shares = allocate(strata, count)
    assert sum(shares.values()) == min(count, sum(strata.values()))
    assert all(1 <= shares[name] <= size for name, size in strata.items())
    assert all(shares[one] >= shares[other] for one in strata for other in strata if strata[one] > strata[other])
