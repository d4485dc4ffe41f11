import pytest

from jobs.configuration.storage_options import parse_storage_options
from pipeline.errors import ConfigError


def test_options_are_text_but_for_switches():
    given = ["key=007", "anon=True", "use_ssl=false", "endpoint_url=http://host?a=b"]
    expected = {"key": "007", "anon": True, "use_ssl": False, "endpoint_url": "http://host?a=b"}
    assert parse_storage_options(given) == expected


def test_option_that_is_no_pair_is_refused_without_repeating_it():
    with pytest.raises(ConfigError, match="--storage takes options of the form key=value") as error:
        parse_storage_options(["anon=true", "hunter2"])
    assert "hunter2" not in str(error.value)
