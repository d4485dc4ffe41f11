"""The commands as users start them: processes, exit codes, messages."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from PIL import Image

from jobs import bench, contact_sheet, convert, evaluate, inpaint, plan, preview, report
from jobs.__main__ import main as moebius
from jobs.cli.commands import COMMANDS
from jobs.cli.execute import run_command
from jobs.cli.exit_codes import EXIT_CODES
from jobs.pictures.sheet import NOTHING
from moebius.checkpoint import read_state_dict
from pipeline.config.job import JobConfig
from tests.conftest import ROOT, make_photos, run_cli


@pytest.fixture
def config(tmp_path, tiny_weights) -> Path:
    photos, masks = make_photos(tmp_path, count=4)
    path = tmp_path / "job.yaml"
    content = {
        "source": {"uri": str(photos)},
        "mask": {"uri": str(masks)},
        "model": {"weights": str(tiny_weights), "steps": 2},
        "sink": {"uri": str(tmp_path / "out")},
        "run": {"report": False},
    }
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command, capsys):
    with pytest.raises(SystemExit, match=r"^0$"):
        moebius([command, "--help"])
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: moebius {command} ")
    assert shown.endswith(f"{EXIT_CODES}\n") and max(map(len, shown.splitlines())) < 120


def test_module_of_a_command_is_a_program():
    result = run_cli("contact_sheet", "--help")
    assert result.returncode == 0 and result.stdout.startswith("usage: moebius contact-sheet ")


def test_moebius_lists_its_commands():
    result = run_cli("__main__", "--help")
    assert result.returncode == 0
    assert all(command in result.stdout for command in COMMANDS)
    assert run_cli("__main__").returncode == 2
    unknown = run_cli("__main__", "inpant")
    assert unknown.returncode == 2 and "no command 'inpant'; there are init, inpaint, plan" in unknown.stderr


def test_base_configuration_states_every_default():
    from jobs.configuration.load import load_config

    assert load_config(str(ROOT / "conf" / "inpaint.yaml"), []) == JobConfig()
    stated = yaml.safe_load((ROOT / "conf" / "inpaint.yaml").read_text())
    for name, section in vars(JobConfig()).items():
        assert set(stated[name]) == set(section if isinstance(section, dict) else vars(section)), name


def test_inpaint_then_plan_then_inpaint_again(config, tmp_path):
    before = run_cli("plan", config)
    assert before.returncode == 0 and "to do:          4 (4 new)" in before.stdout
    assert not (tmp_path / "out").exists()  # planning changes nothing
    first = run_cli("inpaint", config, "run.report=true")
    assert first.returncode == 0, first.stderr
    assert f"report: {tmp_path / 'out' / 'report.html'}" in first.stderr
    assert "4 samples: 4 ok; 4 done in this run" in first.stderr
    assert first.stdout == "" and "Traceback" not in first.stderr and "\r" not in first.stderr
    after = run_cli("plan", config)
    assert "to do:          0" in after.stdout and "4 (4 ok)" in after.stdout
    started = time.monotonic()
    again = run_cli("inpaint", config)
    assert again.returncode == 0 and "0 done in this run" in again.stderr
    assert time.monotonic() - started < 30  # without starting a cluster
    runs = [json.loads(path.read_text()) for path in (tmp_path / "out" / "runs").iterdir()]
    assert sorted(run["samples"]["done_now"] for run in runs) == [0, 4]
    sheet = run_cli("contact_sheet", tmp_path / "out", tmp_path / "sheet.png")
    assert sheet.returncode == 0, sheet.stderr
    assert Image.open(tmp_path / "sheet.png").width > 500
    (tmp_path / "photos" / "001.png").unlink()
    (tmp_path / "out").rename(tmp_path / "moved")
    sheet = run_cli("contact_sheet", tmp_path / "moved", tmp_path / "less.png")
    assert sheet.returncode == 0, sheet.stderr  # a photo that is gone is a grey field and a line of text
    for name, is_grey in (("sheet.png", False), ("less.png", True)):
        pixels = np.asarray(Image.open(tmp_path / name))
        assert bool((pixels == 230).all(axis=-1).sum() >= NOTHING[..., 0].size) is is_grey


WRONG = {
    "unknown key": (["model.stepz=3"], "model.stepz"),
    "wrong type": (["model.steps=many"], "model.steps"),
    "unknown choice": (["mask.kind=magic"], "mask.kind must be one of paired, static"),
    "a section that is a value": (["model=3"], "model: takes keys with values"),
    "a section that is text": (["source=photos"], "source: takes keys with values"),
    "a list of storage options": (["storage=[hunter2]"], "storage: takes keys with values"),
    "a switch that is a number": (["run.resume=3"], "run.resume: must be true or false, got 3"),
    "an empty uri": (["source.uri="], "source.uri must not be empty"),
    "out of range": (["model.precision=fp8"], "model.precision must be one of auto"),
    "out of range, of windows": (["window.context=0.5"], "window.context must be at least 1"),
    "a source that is a file": ([f"source.uri={__file__}"], f"{__file__}: Not a directory"),
    "a sink that is a file": ([f"sink.uri={__file__}"], "Not a directory"),
    "a sink in a file": ([f"sink.uri={__file__}/out"], f"sink.uri: cannot write to {__file__}/out: Not a directory"),
    "a sink that cannot be made": (["sink.uri=/proc/out"], "sink.uri: cannot write to /proc/out: No such file"),
    "a sink whose name is too long": ([f"sink.uri=/{'a' * 300}"], "File name too long"),
    "no such source": (["source.uri=/nowhere/at/all"], "source.uri: nothing at /nowhere/at/all"),
    "no such mask": (["mask.uri=/nowhere/at/all"], "mask.uri: nothing at /nowhere/at/all"),
    "no such weights": (["model.weights=/nowhere"], "found none at /nowhere"),
    "not an override": (["sink.uri"], "overrides are key=value, got 'sink.uri'"),
    "braces that a shell took": (
        ["source.uri=a-0.tar", "source.uri=a-1.tar"],
        "source.uri is given 2 times in a row: quote",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_configuration_is_one_line_and_exit_code_2(config, case, tmp_path, capsys):
    overrides, message = WRONG[case]
    assert inpaint.main([str(config), *overrides]) == 2
    errors = capsys.readouterr().err
    assert message in errors and errors.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", [preview, contact_sheet, evaluate])
def test_picture_of_no_known_kind_is_refused_before_the_work(config, command, tmp_path, capsys):
    given = {preview: [str(config)], contact_sheet: [str(tmp_path)], evaluate: [str(tmp_path), "--sheet"]}[command]
    with pytest.raises(SystemExit, match="2"):
        command.main([*given, "sheet.gif"])
    assert "'sheet.gif' must end in .png or .jpg" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        (preview, ["CONFIG", "sheet.png", "--count", "0"]),
        (contact_sheet, ["SINK", "sheet.png", "--count", "-1"]),
        (contact_sheet, ["SINK", "sheet.png", "--columns", "0"]),
        (evaluate, ["PHOTOS", "--limit", "0"]),
        (plan, ["CONFIG", "--sample", "many"]),
        (bench, ["flow", "--side", "0"]),
        (bench, ["model", "--batch-sizes", "1", "0"]),
    ],
)
def test_counts_below_one_are_refused_before_the_work(command, arguments, capsys):
    with pytest.raises(SystemExit, match="2"):
        command.main(arguments)
    assert f"must be a whole number of at least 1, got {arguments[-1]}" in capsys.readouterr().err


@pytest.mark.parametrize("place", ["/proc/none/x.png", f"{__file__}/x.png", "FOLDER.png"])
def test_place_that_cannot_be_written_is_told_before_the_work(config, place, tmp_path, capsys, monkeypatch):
    (tmp_path / "FOLDER.png").mkdir()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.bin").write_bytes(b"")
    for command, arguments in (
        (preview, [config, place]),
        (contact_sheet, [tmp_path / "none", place]),
        (evaluate, [tmp_path / "photos", "--sheet", place]),
        (evaluate, [tmp_path / "photos", "--json", place]),
        (report, [tmp_path / "none", "--output", place]),
    ):
        assert command.main([str(argument) for argument in arguments]) == 2
        errors = capsys.readouterr().err
        assert errors.startswith(f"moebius: cannot write {place}: ") and errors.count("\n") == 1
    assert convert.main(["x.bin", "/proc/none/x.safetensors"]) == 2
    assert "cannot write /proc/none/x.safetensors: No such file" in capsys.readouterr().err


def test_version_is_told():
    result = run_cli("__main__", "--version")
    assert result.returncode == 0 and result.stdout == "moebius 0.1.0\n"


@pytest.mark.parametrize("resumable", [True, False])
def test_stopped_command_promises_to_resume_only_where_it_does(resumable, capsys):
    def stopped() -> int:
        raise KeyboardInterrupt

    assert run_command(stopped, resumable) == 1
    assert ("run the same command again" in capsys.readouterr().err) is resumable


@pytest.mark.parametrize("resumable", [True, False])
def test_disk_or_storage_that_fails_is_one_line_and_exit_code_1(resumable, capsys):
    def fails() -> int:
        raise OSError(28, "No space left on device", "/sink/data/x")

    assert run_command(fails, resumable) == 1
    told = capsys.readouterr().err
    assert told.startswith("moebius: [Errno 28] No space left on device: '/sink/data/x'") and told.count("\n") == 1
    assert ("run the same command again" in told) is resumable


def test_missing_configuration_file_is_exit_code_2():
    result = run_cli("inpaint", "no.yaml")
    assert result.returncode == 2 and result.stderr == "moebius: no configuration file no.yaml\n"
    assert run_cli("inpaint").returncode == 2


def test_template_with_braces_is_taken_as_it_stands(config, tmp_path, capsys):
    for path in (tmp_path / "masks").iterdir():
        path.rename(path.with_stem(f"{path.stem}_mask"))
    assert plan.main([str(config), "mask.template={stem}_mask.png"]) == 0
    assert "missing masks:  0" in capsys.readouterr().out


def test_plan_names_a_mask_that_is_missing_and_the_most_similar_one(config, tmp_path, capsys):
    for path in (tmp_path / "masks").iterdir():
        path.rename(path.with_stem(f"{path.stem}-matte"))
    masks = tmp_path / "masks"
    assert plan.main([str(config)]) == 0
    named = f"missing masks:  4, such as 000.* of 000.png; the most similar name in {masks} is 000-matte.png\n"
    assert named in capsys.readouterr().out
    assert plan.main([str(config), "mask.template={stem}_matte.png"]) == 0
    assert "such as 000_matte.png of 000.png; the most similar name in" in capsys.readouterr().out
    (tmp_path / "none").mkdir()
    assert plan.main([str(config), f"mask.uri={tmp_path}/none"]) == 0
    assert f"4, such as 000.* of 000.png; there is no mask file in {tmp_path}/none\n" in capsys.readouterr().out


def test_too_many_failures_are_exit_code_3_with_their_kinds(config, tmp_path):
    (tmp_path / "photos" / "001.png").write_bytes(b"no picture")
    result = run_cli("inpaint", config)
    assert result.returncode == 3
    assert "failed: 1 UnreadableImage" in result.stderr and "limits.max_failed_fraction=0.05" in result.stderr
    assert run_cli("inpaint", config, "limits.max_failed_fraction=0.5").returncode == 0


def test_untrained_weights_are_warned_about_once_and_marked(config, tmp_path):
    result = run_cli("inpaint", config, "model.weights=untrained", "source.pattern=000.png")
    assert result.returncode == 0 and result.stderr.count("untrained stand-in") == 1
    (row,) = pq.read_table(tmp_path / "out" / "manifest").to_pylist()
    assert row["weights_fingerprint"].startswith("untrained-")


def test_weights_without_network_say_which_file_goes_where(config, tmp_path):
    env = {"HF_HUB_OFFLINE": "1", "MOEBIUS_HOME": str(tmp_path / "home"), "HF_HOME": str(tmp_path / "hf")}
    result = run_cli("inpaint", config, "model.weights=places2", env=env)
    assert result.returncode == 2
    assert "diffusion_pytorch_model.bin" in result.stderr and f"{tmp_path}/home/places2" in result.stderr


@pytest.fixture
def slow_job(tmp_path, tiny_weights) -> list[str]:
    """Arguments of a job over twelve photos that takes a while."""
    photos, masks = make_photos(tmp_path, count=12)
    options = {
        "source.uri": photos,
        "mask.uri": masks,
        "sink.uri": tmp_path / "out",
        "model.weights": tiny_weights,
        "model.steps": 150,  # so that a fast machine is not done before the second run is refused
        "run.report": "false",
    }
    return [str(ROOT / "conf" / "inpaint.yaml"), *(f"{key}={value}" for key, value in options.items())]


def rows_of(manifest: Path) -> int:
    return sum(pq.read_metadata(path).num_rows for path in manifest.glob("*.parquet"))


def start_and_wait_for_rows(arguments: list[str], manifest: Path) -> subprocess.Popen[str]:
    before = rows_of(manifest)
    command = [sys.executable, "-m", "jobs.inpaint", *arguments]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 300
    while rows_of(manifest) == before:
        assert time.monotonic() < deadline and process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    return process


def finish_and_check(arguments: list[str], out: Path) -> None:
    committed = pq.read_table(out / "manifest")["sample_id"].to_pylist()
    assert 0 < len(committed) < 12
    again = run_cli("inpaint", *arguments)
    assert again.returncode == 0, again.stderr
    rows = pq.read_table(out / "manifest").to_pylist()
    assert sorted(row["sample_id"] for row in rows) == [f"{index:03}.png" for index in range(12)]
    assert f"{12 - len(committed)} done in this run" in again.stderr
    for row in rows:
        assert row["status"] == "ok"
        assert Path(row["output_uri"]).stat().st_size == row["output_bytes"]
    assert not list(out.glob(".staging/*")) and not (out / ".lease.json").exists()


def test_job_that_is_terminated_and_then_killed_ends_with_one_row_each(slow_job, tmp_path, caplog):
    manifest = tmp_path / "out" / "manifest"
    process = start_and_wait_for_rows(slow_job, manifest)
    assert inpaint.main(slow_job) == 1  # in this process, which has imported everything, while the other one works
    assert "is held by run" in caplog.text and f"process {process.pid}" in caplog.text
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1 and "run the same command again to resume" in errors
    assert not (tmp_path / "out" / ".lease.json").exists()
    process = start_and_wait_for_rows(slow_job, manifest)
    process.send_signal(signal.SIGKILL)
    process.wait()
    finish_and_check(slow_job, tmp_path / "out")


def test_convert_round_trips_and_refuses_what_does_not_fit(tiny_weights, tmp_path):
    source = tiny_weights / "diffusion_pytorch_model.safetensors"
    there = run_cli("convert", source, tmp_path / "a.bin")
    assert there.returncode == 0, there.stderr
    sizes = ["--config", tiny_weights / "config.json"]
    back = run_cli("convert", tmp_path / "a.bin", tmp_path / "b.safetensors", *sizes)
    assert back.returncode == 0, back.stderr
    before, after = read_state_dict(source), read_state_dict(tmp_path / "b.safetensors")
    assert before.keys() == after.keys()
    assert all(before[key].dtype == after[key].dtype and torch.equal(before[key], after[key]) for key in before)
    exists = run_cli("convert", source, tmp_path / "a.bin")
    assert exists.returncode == 2 and "--force" in exists.stderr
    misfit = run_cli("convert", tmp_path / "a.bin", tmp_path / "c.safetensors")
    assert misfit.returncode == 2 and "does not fit MoebiusConfig" in misfit.stderr
    assert not (tmp_path / "c.safetensors").exists()


def test_demo_configuration_finds_a_mask_for_every_photo_and_credits_it():
    result = run_cli("plan", "conf/demo.yaml", "sink.uri=/nonexistent-sink")
    assert "samples found:  12" in result.stdout and "missing masks:  0" in result.stdout
    credits = (ROOT / "tests" / "photos" / "CREDITS.tsv").read_text()
    for path in (ROOT / "tests" / "photos" / "images").iterdir():
        assert path.name in credits
        assert Image.open(path).size == Image.open(path.parent.parent / "masks" / f"{path.stem}.png").size
    assert all("CC0" in line or "CC-BY" in line for line in credits.splitlines()[1:])


def test_bench_measures_planning_and_writes_json(tmp_path):
    result = run_cli("bench", "plan", "--rows", "3000", "--json", tmp_path / "plan.json")
    assert result.returncode == 0, result.stderr
    figures = json.loads((tmp_path / "plan.json").read_text())
    assert figures["rows"] == 3000 and figures["todo"] == 3 and figures["compare_s"] > 0
    assert "compare_s" in result.stdout


@pytest.mark.slow
def test_bench_measures_the_job_against_the_bare_model(tmp_path, tiny_weights):
    target = tmp_path / "job.json"
    result = run_cli("bench", "job", "--weights", tiny_weights, "--samples", "12", "--steps", "2", "--output", target)
    assert result.returncode == 0, result.stderr
    figures = json.loads(target.read_text())
    assert figures["of_bare"] == pytest.approx(figures["job_images_per_s"] / figures["bare_images_per_s"])
    assert figures["samples"] == 12 and 12 / figures["job_images_per_s"] < figures["wall_s"]


def test_bench_measures_the_flow_around_a_model_that_sleeps():
    result = run_cli("bench", "flow", "--samples", "60", "--side", "96", "--actors", "1", "--batch-seconds", "0.25")
    assert result.returncode == 0, result.stderr
    figures = dict(line.split(maxsplit=1) for line in result.stdout.splitlines())
    assert 0 < float(figures["busy"]) <= 1  # how much depends on what else the machine does
    assert float(figures["plain_samples_per_s"]) > 0 and float(figures["peak_mb"]) > 100
