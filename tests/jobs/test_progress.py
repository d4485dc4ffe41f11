import io

from jobs.progress import LOG_EVERY_S, Progress
from pipeline.records import FAILED, OK, Record, to_table


class Terminal(io.StringIO):
    def isatty(self):
        return True


def rows(count: int, status: str):
    return to_table([Record(sample_id=str(index), status=status) for index in range(count)])


def test_terminal_has_one_line_that_renews_itself():
    stream = Terminal()
    with Progress(stream) as progress:
        progress.update(rows(0, OK), 8)
        assert "0/8 samples, workers are starting" in stream.getvalue()
        progress.update(rows(3, OK), 8)
        progress.update(rows(1, FAILED), 8)
    assert stream.getvalue().count("\n") == 1 and stream.getvalue().count("\r") == 3
    assert "4/8 samples (1 failed, 3 ok)" in stream.getvalue()


def test_log_file_has_a_plain_line_a_minute(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("jobs.progress.time.monotonic", lambda: now[0])
    stream = io.StringIO()
    with Progress(stream) as progress:
        for second in range(1, 200):
            now[0] = float(second)
            progress.update(rows(1, OK), 200)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 199 // LOG_EVERY_S
    assert lines[0].startswith("60/200 samples (60 ok)  1.0/s  0:02:20 left")
    assert "\r" not in stream.getvalue()
