import pytest

from pipeline.errors import ConfigError
from pipeline.expressions import Condition

ROWS = {"score": [1, 0.3, None, 0.9], "label": ["logo", "logo", "logo", "face"]}


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("score > 0.4", [True, False, False, True]),
        ("score > 0.4 AND label IN ('logo')", [True, False, False, False]),
        ("score IS NULL OR label = 'face' -- a comment", [False, False, True, True]),
        ("SCORE = 1", [True, False, False, False]),
        ("true", [True] * 4),
    ],
)
def test_condition_holds_for_rows_that_make_it_true(expression, expected):
    assert Condition("mask.where", expression).holds(ROWS) == expected


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("scor > 1", 'Referenced column "scor" not found'),
        ("score > 1; DROP TABLE objects", "Parser Error"),
        (
            "true) AS BOOLEAN), true) FROM objects; SELECT coalesce(CAST((true",
            "must be one expression over a row, not a statement",
        ),
        ("(SELECT count(*) FROM read_csv('/etc/passwd')) > 0", "file system operations are disabled"),
        ("(SELECT content FROM read_text('/etc/passwd')) = ''", "file system operations are disabled"),
        ("(SELECT count(*) FROM secret) > 0", "secret does not exist"),
        ("max(score) > 0.3", "must be one truth value for each row"),
        ("unnest([true, false])", "must be one truth value for each row"),
        ("score = 'high'", "Could not convert string 'high'"),
    ],
)
def test_condition_that_is_none_or_reaches_further_is_a_configuration_error(expression, reason):
    secret = ROWS  # noqa: F841 - a variable of Python is no table either
    with pytest.raises(ConfigError, match=r"^mask\.where=") as caught:
        Condition("mask.where", expression).holds(ROWS)
    assert reason in str(caught.value)


def test_condition_keeps_the_type_that_a_column_has_first():
    condition = Condition("mask.where", "score > 0.5")
    assert condition.holds({"score": [None, None]}) == [False, False]
    assert condition.holds({"score": [1, 0]}) == [True, False]
    assert condition.holds({"score": [0.25, 0.75]}) == [False, True]
    with pytest.raises(ConfigError, match=r"mask\.where: values of score are not all of double"):
        condition.holds({"score": ["much"]})
