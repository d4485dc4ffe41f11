from moebius.train.rows import append_row, cut_rows


def test_rows_after_the_last_checkpoint_are_forgotten_and_new_columns_find_their_place(tmp_path):
    path = tmp_path / "losses.csv"
    cut_rows(path, 0)
    assert not path.exists()
    for step in (1, 2, 3):
        append_row(path, {"step": step, "total": step / 2})
    cut_rows(path, 2)
    append_row(path, {"step": 3, "perceptual": 7.0, "total": 1.5})
    assert path.read_text().split() == ["step,total,perceptual", "1,0.5,", "2,1.0,", "3,1.5,7.0"]
