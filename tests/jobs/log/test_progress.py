import io
import logging
import sys
import time

import pytest

import jobs.log.progress
from jobs.log.progress import Progress
from jobs.log.progress_stats import RATE_PERIOD_S, ProgressStats
from pipeline.records import FAILED, OK, Record, to_table


class Terminal(io.StringIO):
    def isatty(self):
        return True


def rows(count: int, status: str = OK, inpaint_s: float | None = None, kind: str | None = None):
    return to_table(
        [Record(sample_id=str(index), status=status, inpaint_s=inpaint_s, error_type=kind) for index in range(count)]
    )


def stats_after(*commits: tuple[float, int], total: int = 1000, inpaint_s: float = 0.0, model_calls=lambda: 0):
    """After so many rows at such times."""
    counted = ProgressStats()
    counted.model_calls = model_calls
    for now, count in commits:
        counted.count(rows(count, inpaint_s=inpaint_s), total, now)
    return counted


def test_line_tells_rate_rest_and_failures_by_kind():
    counted = stats_after((0.0, 0), (60.0, 90), total=200)
    counted.count(rows(8, FAILED, kind="MissingMask"), 200, 60.0)
    counted.count(rows(2, FAILED, kind="TruncatedImage"), 200, 60.0)
    expected = "100/200 samples (90 ok, 10 failed: 8 MissingMask, 2 TruncatedImage)  1.7/s  0:01:00 left"
    assert counted.line(60.0) == expected
    assert "0:00:30 left" in counted.line(90.0)  # goes on between commits


def test_rare_kinds_of_failures_are_counted_together():
    counted = stats_after((0.0, 0))
    for kind, count in zip("abcdef", (9, 8, 7, 6, 2, 1), strict=True):
        counted.count(rows(count, FAILED, kind=kind), 1000, 1.0)
    assert counted.counts() == "33 failed: 9 a, 8 b, 7 c, 6 d, 3 others"


def test_rate_is_that_of_the_last_minutes():
    slow_start = [(0.0, 0), (1000.0, 10)]
    steady = [(1000.0 + 30 * number, 300) for number in range(1, 21)]
    pace = stats_after(*slow_start, *steady, total=100_000).pace(1600.0)
    assert pace.startswith("10.0/s"), RATE_PERIOD_S


@pytest.mark.parametrize(("model_calls", "busy"), [(1, "100 %"), (2, "100 %"), (4, "50 %"), (8, "25 %")])
def test_busy_share_is_of_all_calls_that_can_run_at_once(model_calls, busy):
    counted = stats_after((0.0, 0), (10.0, 20), inpaint_s=1.0, model_calls=lambda: model_calls)
    assert f"model busy {busy}" in counted.pace(10.0)


def test_busy_share_counts_workers_for_the_time_that_they_are_there():
    present = iter([1, 3])
    counted = stats_after((0.0, 0), (10.0, 5), (20.0, 15), inpaint_s=1.0, model_calls=lambda: next(present))
    assert "model busy 50 %" in counted.pace(20.0)


def test_workers_that_have_begun_but_done_nothing_yet_are_told_from_those_that_start():
    present = [0]
    counted = stats_after((0.0, 0), model_calls=lambda: present[0])
    assert counted.pace(60.0) == "workers are starting, 0:01:00"
    present[0] = 2
    assert counted.pace(150.0) == "first samples are under way, 0:02:30"


def test_start_of_the_workers_is_left_out_of_the_rate_as_soon_as_there_is_another():
    assert stats_after((0.0, 0), (100.0, 10)).pace(100.0).startswith("6.0/min")
    assert stats_after((0.0, 0), (100.0, 10), (140.0, 80)).pace(140.0).startswith("2.0/s")


def test_silence_is_told():
    counted = stats_after((0.0, 0), (10.0, 20))
    assert "ago" not in counted.pace(60.0)
    assert "last commit 0:02:30 ago" in counted.pace(160.0)


def test_terminal_shows_a_bar_below_the_lines_of_the_log(monkeypatch):
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    handler = logging.StreamHandler(stream)
    logging.getLogger().addHandler(handler)
    try:
        with Progress(stream) as progress:
            progress.update(rows(0), 8)
            progress.expect(lambda: 2)
            progress.update(rows(3), 8)
            progress.update(rows(1, FAILED, kind="[red]Odd[/]"), 8)
            logging.getLogger("jobs").warning("by the way")
    finally:
        logging.getLogger().removeHandler(handler)
    assert handler.stream is stream
    text = stream.getvalue()
    assert "4 of 8" in text and "50 %" in text and "3 ok, 1 failed: 1 [red]Odd[/]" in text
    assert "by the way" in text and "samples (" not in text  # the log has no lines of progress of its own


def test_log_has_a_line_at_the_start_one_at_the_first_commit_and_one_a_minute(caplog, monkeypatch):
    monkeypatch.setattr(jobs.log.progress, "LOG_EVERY_S", 0.2)
    caplog.set_level(logging.INFO, "jobs")
    with Progress(io.StringIO()) as progress:
        progress.update(rows(0), 200)
        for _ in range(5):
            progress.update(rows(10), 200)
        assert [message.split(" samples")[0] for message in caplog.messages] == ["0/200", "10/200"]
        deadline = time.monotonic() + 20
        while len(caplog.messages) < 4 and time.monotonic() < deadline:
            time.sleep(0.02)
    shown = len(caplog.messages)
    assert shown >= 4 and all(message.startswith("50/200 samples (50 ok)") for message in caplog.messages[2:])
    time.sleep(0.3)
    assert len(caplog.messages) == shown  # it ends with the job


def test_nothing_to_do_shows_nothing(caplog):
    caplog.set_level(logging.INFO, "jobs")
    stream = Terminal()
    with Progress(stream) as progress:
        progress.update(rows(0), 0)
    assert stream.getvalue() == "" and not caplog.messages
