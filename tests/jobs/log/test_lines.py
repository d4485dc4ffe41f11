import json
import logging

import pytest

from jobs.cli.execute import run_command
from jobs.cli.exit_codes import WRONG_USAGE
from jobs.log.failures import MAX_PER_KIND, FailureLog
from jobs.log.lines import JsonLines, TextLines, set_up_log
from pipeline.errors import ConfigError
from pipeline.records import FAILED, OK, Record, to_table

STORAGE = {
    "key": "AKIA-0000",
    "secret": "hush-hush",
    "endpoint_url": "https://s3.example.com",
    "client_kwargs": {"aws_session_token": "t0ken-t0ken", "region_name": "eu-central-1"},
    "headers": {"authorization": ["Bearer", "l1st-in-l1st"]},
    "password": 31415926,
}


def failed(name: str, kind: str = "TruncatedImage", message: str = "it ends too soon") -> Record:
    return Record(name, FAILED, "decode", kind, message, worker="host/7")


@pytest.fixture
def lines(caplog):
    """What a formatter makes of all that is logged."""
    caplog.set_level(logging.INFO)
    return lambda formatter: [formatter.format(record) for record in caplog.records]


def test_failed_sample_is_one_line_with_its_id_and_why(lines, caplog):
    FailureLog().update(to_table([Record("fine.png", OK), failed("a/ü\n.png", message="bad\nfile")]))
    (text,) = lines(TextLines({}))
    assert text.endswith("WARNING sample a/\\xfc\\n.png failed: decode, TruncatedImage: bad\\nfile")
    caplog.records[0]._ray_timestamp_ns = 1
    (line,) = lines(JsonLines({}, "the-run"))
    told = json.loads(line)
    assert told.pop("time").endswith("+00:00")
    assert told == {
        "level": "WARNING",
        "logger": "jobs.log.failures",
        "message": "sample a/\\xfc\\n.png failed: decode, TruncatedImage: bad\\nfile",
        "run_id": "the-run",
        "sample_id": "a/ü\n.png",
        "error_stage": "decode",
        "error_type": "TruncatedImage",
        "worker": "host/7",
    }
    assert "\n" not in line


def test_many_failures_of_a_kind_are_not_told_one_by_one(lines):
    log = FailureLog()
    for start in range(0, 40, 4):
        log.update(to_table([failed(f"{index}.png") for index in range(start, start + 4)]))
    log.update(to_table([failed("other.png", "MissingMask")]))
    told = [json.loads(line) for line in lines(JsonLines({}, "run"))]
    assert [line.get("sample_id") for line in told] == [
        *(f"{index}.png" for index in range(MAX_PER_KIND)),
        None,
        "other.png",
    ]
    assert told[MAX_PER_KIND]["message"] == "more samples failed with TruncatedImage; the manifest has them all"


def test_characters_that_steer_a_terminal_are_escaped_and_lines_kept(lines, capsys, monkeypatch):
    logging.getLogger("pipeline").warning("name \x1b[2Jé.png\r\nnext\t\u202e line")
    (text,) = lines(TextLines({}))
    assert text.endswith("name \\x1b[2Jé.png\nnext\t\\u202e line")

    monkeypatch.setattr("signal.signal", lambda *_: None)  # of the tests' own process

    def fail() -> int:
        raise ConfigError("no \x1b]0;title\x07\nsuch file")

    assert run_command(fail) == WRONG_USAGE
    assert capsys.readouterr().err == "moebius: no \\x1b]0;title\\x07\nsuch file\n"


@pytest.mark.parametrize("formatter", [TextLines(STORAGE), JsonLines(STORAGE, "run")])
def test_secrets_of_the_storage_are_hidden_wherever_they_come_from(lines, formatter):
    FailureLog().update(to_table([failed("hush-hush.png", message="AKIA-0000 at https://s3.example.com said no")]))
    try:
        raise OSError("t0ken-t0ken")
    except OSError:
        logging.getLogger("pipeline").exception("of %s in eu-central-1, %s", "hush-hush", ["l1st-in-l1st", 31415926])
    text = "\n".join(lines(formatter))
    assert not any(secret in text for secret in ("hush-hush", "AKIA-0000", "t0ken", "l1st", "31415926"))
    assert "https://s3.example.com" in text and "eu-central-1" in text and "Traceback" in text


def test_form_of_the_log_is_that_of_the_configuration():
    handler = logging.StreamHandler()
    logging.getLogger().addHandler(handler)
    try:
        for form, kind in (("json", JsonLines), ("text", TextLines)):
            set_up_log(form, {}, "run")
            assert type(handler.formatter) is kind
    finally:
        logging.getLogger().removeHandler(handler)
