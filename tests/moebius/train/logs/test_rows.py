import csv

import pytest

from moebius.train.logs.rows import append_row, cut_rows


def test_rows_after_the_last_checkpoint_are_forgotten_and_new_columns_find_their_place(tmp_path):
    path = tmp_path / "losses.csv"
    cut_rows(path, 0)
    assert not path.exists()
    for step in (1, 2, 3):
        append_row(path, {"step": step, "total": step / 2})
    cut_rows(path, 2)
    append_row(path, {"step": 3, "perceptual": 7.0, "total": 1.5})
    assert path.read_text().split() == ["step,total,perceptual", "1,0.5,", "2,1.0,", "3,1.5,7.0"]


def test_a_log_that_is_cut_is_whole_whenever_the_run_is_killed(tmp_path, monkeypatch):
    path = tmp_path / "losses.csv"
    for step in (1, 2):
        append_row(path, {"step": step, "total": 1.0})

    def killed(writer, rows):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(csv.DictWriter, "writerows", killed)
        with pytest.raises(KeyboardInterrupt):
            cut_rows(path, 1)
    assert path.read_text().split() == ["step,total", "1,1.0", "2,1.0"]
