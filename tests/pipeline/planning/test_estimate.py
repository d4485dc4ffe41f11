"""What a job will take: windows as the job cuts them, a rate as it was measured."""

import json
import re

import pytest
import yaml

from jobs import plan
from pipeline.errors import ConfigError
from pipeline.planning.estimate import Rate, WindowSample, describe_sizing, read_rate
from tests.conftest import make_photos


@pytest.fixture
def config(tmp_path):
    """Six photos of one window each, one of which is broken; windows are of 256 pixels."""
    photos, masks = make_photos(tmp_path, count=6)
    (photos / "003.png").write_bytes(b"no picture")
    path = tmp_path / "job.yaml"
    content = {"source": {"uri": str(photos)}, "mask": {"uri": str(masks)}, "sink": {"uri": str(tmp_path / "out")}}
    path.write_text(yaml.safe_dump(content))
    return path


def test_plan_reckons_with_windows_that_were_really_cut(config, tmp_path, capsys):
    bench = tmp_path / "bench.json"
    bench.write_text(json.dumps({"windows_per_second": 0.5, "steps": 19, "machine": "a card"}))
    assert plan.main([str(config), "--sizing", "--bench", str(bench), "--gpu-hour-cost", "36", "model.steps=20"]) == 0
    lines = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())
    assert re.match(r" +0\.833 per photo ± 39%, from 6 photos, 1 of which fail", lines["windows"])
    assert "0.5 windows per second and GPU" in lines["rate"] and "a card" in lines["rate"]
    assert "0.00278 ± 39%: 0.00278 h on 1, 0.000347 h on 8" in lines["GPU hours"]  # five windows, two seconds each
    assert "0.10 ± 39%, at 36 per GPU hour" in lines["cost"]
    assert "lost nodes" in lines["assumed"] and not (tmp_path / "out").exists()


def test_options_that_do_not_fit_together_are_refused(config, tmp_path, capsys):
    (tmp_path / "empty.json").write_text("{}")
    for arguments in (
        ["--sizing"],
        ["--bench", "x.json"],
        ["--gpu-hour-cost", "3"],
        ["--bench", "x.json", "--windows-per-second", "1"],
        ["--sizing", "--bench", "x.json", "--windows-per-second", "1"],
    ):
        assert plan.main([str(config), *arguments]) == 2 and "--sizing needs exactly one of" in capsys.readouterr().err
    assert plan.main([str(config), "--sizing", "--bench", str(tmp_path / "empty.json")]) == 2
    assert "windows_per_second" in capsys.readouterr().err
    assert plan.main([str(config), "--sizing", "--windows-per-second", "0"]) == 2


def test_rate_is_scaled_to_the_evaluations_of_the_job(tmp_path):
    path = tmp_path / "bench.json"
    path.write_text(json.dumps({"windows_per_second": 10.0, "steps": 19}))
    rate = read_rate(path)
    assert rate.scaled(38) is rate
    scaled = rate.scaled(19)  # of a job without guidance
    assert scaled.windows_per_s == 20.0 and "with 38 evaluations per window, scaled to 19" in scaled.origin
    with pytest.raises(ConfigError, match="not JSON of moebius bench model"):
        read_rate(tmp_path / "none.json")


@pytest.mark.parametrize(
    "changes, times",
    [
        (["model.guidance=1"], 0.5),
        (["model.guidance=auto"], 0.5),  # of nano
        (["model.steps=10"], 9 / 19),
        (["model.candidates=3"], 3.0),
        (["window.refine=0.5"], 1.0),  # no hole is too large for a window
    ],
)
def test_time_follows_the_settings_that_decide_the_work(config, tmp_path, capsys, changes, times):
    bench = tmp_path / "bench.json"
    bench.write_text(json.dumps({"windows_per_second": 0.5, "steps": 19}))

    def gpu_hours(*overrides):
        assert plan.main([str(config), "--sizing", "--bench", str(bench), *overrides]) == 0
        lines = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())
        return float(lines["GPU hours"].split()[0])

    assert gpu_hours(*changes) == pytest.approx(times * gpu_hours(), rel=0.01)


def test_margin_says_how_far_a_sample_can_be_trusted():
    assert WindowSample([2, 2, 2, 2], 0, 0.1).margin == 0
    assert WindowSample([1, 3] * 50, 0, 0.1).margin == pytest.approx(1.96 * 1.005 / 10, rel=1e-3)
    lines = describe_sizing(1_000_000, WindowSample([1, 3] * 50, 0, 0.1), Rate(20.0, "given"), None)
    assert lines["GPU hours"].startswith("27.8 ± 10%: 27.8 h on 1, 3.47 h on 8") and "cost" not in lines
    assert lines["CPU cores"].startswith("1 per GPU") and "verification" not in lines
    verified = describe_sizing(1_000_000, WindowSample([1, 3] * 50, 0, 0.1, 0.3), Rate(20.0, "given"), None)
    assert verified["verification"].startswith("0.3 s per photo") and verified["CPU cores"].startswith("4 per GPU")
    assert "further tries" in verified["assumed"]
    assert "from one photo" in describe_sizing(1, WindowSample([4], 0, 0.1), Rate(1.0, "given"), 1.0)["windows"]
