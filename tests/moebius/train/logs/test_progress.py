import re
import time

from moebius.train.logs.progress import Progress


def test_the_whole_training_is_estimated_once_from_steps_after_the_first_ones(tmp_path, monkeypatch, caplog):
    seconds = iter([0.0, 100.0, 110.0, 140.0, 150.0])  # the first ten steps took 100 s, then 10 take 10 s, 30 s, 10 s
    monkeypatch.setattr(time, "monotonic", lambda: next(seconds))
    progress = Progress(tmp_path / "losses.csv", None, 0, 3600)
    with caplog.at_level("INFO"):
        for done in (10, 20, 30, 40):
            progress.note(done, {"total": 1.0}, 0.5)
    (told,) = [line for line in caplog.messages if "steps took" in line]
    start = "20 steps took 2 s each: all 3600 take 2 hours in each process, the rest ends about "
    assert re.fullmatch(re.escape(start) + r"\d{4}-\d\d-\d\d \d\d:\d\d .*", told)
