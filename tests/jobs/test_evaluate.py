import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from jobs import evaluate
from jobs.evaluate import main
from moebius.inference.settings import InpaintSettings
from moebius.weights import WeightsUnavailableError
from pipeline.evaluation import methods
from pipeline.evaluation.baselines import BASELINES
from pipeline.evaluation.evaluator import EvaluationConfig
from pipeline.evaluation.perceptual import SUMS, Perceptual
from pipeline.evaluation.photos import find_photos, read_photo
from pipeline.evaluation.run import blanked_cases, fill_case
from pipeline.evaluation.votes.pairs import Pair
from tests.conftest import textured


@pytest.fixture
def photos(tmp_path):
    for index in range(2):
        Image.fromarray(textured(100, 140, index)).save(tmp_path / f"{index}.png")
    return tmp_path


def test_every_photo_kind_and_method_is_measured_and_drawn(photos, tiny_weights, capsys, monkeypatch):
    monkeypatch.setattr(evaluate, "PROGRESS_EVERY_S", 0)
    arguments = ["--weights", str(tiny_weights), "--masks", "objects", "--steps", "2", "--max-pixels", "7000"]
    files = ["--json", str(photos / "figures.json"), "--sheet", str(photos / "out" / "sheet.png")]
    assert main([str(photos), *arguments, *files]) == 0
    content = json.loads((photos / "figures.json").read_text())
    methods = [*BASELINES, str(tiny_weights)]
    found = [(row["photo"], row["method"]) for row in content["photos"]]
    assert found == [(name, method) for name in ("0.png", "1.png") for method in methods]
    assert [row["method"] for row in content["means"]] == methods
    for mean in content["means"]:
        rows = [row["psnr_db"] for row in content["photos"] if row["method"] == mean["method"]]
        assert mean["psnr_db"] == pytest.approx(np.mean(rows)) and mean["photos"] == 2
    by_method = {mean["method"]: mean["psnr_db"] for mean in content["means"]}
    assert by_method["navier-stokes"] > by_method["mean"]
    said = capsys.readouterr()
    assert sum(line.startswith("objects") for line in said.out.splitlines()) == len(methods)
    assert said.err == "1 of 2 photos measured\n2 of 2 photos measured\n"
    with Image.open(photos / "out" / "sheet.png") as sheet:
        assert sheet.width > sheet.height


def test_settings_of_a_job_reach_the_model_and_its_work_is_counted(photos, tiny_weights, capsys):
    arguments = ["--weights", str(tiny_weights), "--masks", "objects", "--steps", "4", "--guidance", "auto"]
    arguments += ["--guidance-interval", "0", "300", "--sampler", "dpm++", "--start", "colours", "--context", "1.25"]
    arguments += ["--refine", "0.5", "--baselines", "mean", "--limit", "1", "--json", str(photos / "figures.json")]
    assert main([str(photos), *arguments]) == 0
    content = json.loads((photos / "figures.json").read_text())
    chosen = {"guidance": "auto", "guidance_interval": [0, 300], "sampler": "dpm++", "start": "colours"}
    assert content["settings"].items() >= (chosen | {"steps": 4, "context": 1.25, "refine": 0.5}).items()
    without, model = content["means"]
    assert "windows" not in without
    assert (
        model["windows"] >= 1 and model["evaluations"] == 5 * model["windows"]
    )  # at 500, 250 and 0, two of them twice
    header, *lines = (line for line in capsys.readouterr().out.splitlines() if line.startswith(("mask", "objects")))
    assert header.split()[-5:] == ["windows", "evaluations", "seconds", "memory_mb", "parameters"]
    assert {len(line) for line in lines} == {len(header)}


def test_no_method_sees_what_it_is_to_find(photos):
    seen = []

    def peek(task):
        seen.append(task)
        return np.full_like(task.image, 7)  # outside the hole, too

    files = find_photos(photos, None)
    for case, task in blanked_cases(files, ["text"], seed=0, max_pixels=10**6):
        fill_case(case, task, {"peek": methods.Method(peek)})
        image, mask = seen[-1].image, seen[-1].mask
        assert len(np.unique(image[mask], axis=0)) == 1  # one colour, that of the rest on average
        assert np.array_equal(image[~mask], case.truth[~mask])
        assert np.array_equal(case.fills["peek"], np.where(mask[..., None], np.uint8(7), case.truth))
    assert len(seen) == 2


def test_baselines_change_nothing_but_the_hole():
    photo = textured(40, 50)
    mask = np.zeros((40, 50), bool)
    mask[10:16, 20:30] = True
    for fill in BASELINES.values():
        filled = fill(photo, mask)
        assert filled.dtype == np.uint8 and np.array_equal(filled[~mask], photo[~mask])
        assert not np.array_equal(filled[mask], photo[mask])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--steps", "0"], "steps"),
        (["--workers", "99"], "the CPU cores of the cluster hold"),
        (["--weights", "--baselines"], "needs a method"),
        (["--hub", "nowhere"], "--hub needs"),
        (["--weights", "none-such"], "none-such"),
    ],
)
def test_what_cannot_work_is_said_at_once(photos, capsys, arguments, message):
    assert main([str(photos), *arguments]) == 2
    assert message in capsys.readouterr().err


def test_perfect_fill_is_null_in_json(tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.new("RGB", (64, 64), (90, 120, 30)).save(photos / "plain.png")  # of one colour, which the mean hits
    written = tmp_path / "new" / "figures.json"
    assert main([str(photos), "--weights", "--baselines", "mean", "--masks", "objects", "--json", str(written)]) == 0
    content = json.loads(written.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert content["means"][0]["psnr_db"] is None and content["photos"][0]["ssim"] == pytest.approx(1)


def test_a_folder_without_photos_is_refused(tmp_path, capsys):
    assert main([str(tmp_path)]) == 2
    assert "found none" in capsys.readouterr().err


def test_what_is_no_photo_to_measure_on_is_said_before_any_is_filled(photos, capsys, monkeypatch):
    monkeypatch.setattr(evaluate, "PROGRESS_EVERY_S", 0)
    Image.new("RGB", (40, 200)).save(photos / "small.png")
    (photos / "broken.png").write_bytes(b"no photo")
    for name, message in (("broken.png", "cannot be read as a photo; remove it"), ("small.png", "at least 64 px")):
        assert main([str(photos), "--weights", "--baselines", "mean", "--masks", "objects"]) == 2
        said = capsys.readouterr()
        assert message in said.err and "measured" not in said.err and not said.out
        (photos / name).unlink()


def test_folders_and_hidden_files_are_no_photos(photos):
    (photos / "album.jpg").mkdir()
    (photos / "._0.png").write_bytes(b"what some systems leave beside a file")
    assert [path.name for path in find_photos(photos, None)] == ["0.png", "1.png"]


def test_photos_of_16_bits_are_measured_as_they_look(tmp_path):
    grey = textured(80, 90)[..., 0]
    Image.fromarray(grey.astype(np.uint16) << 8).save(tmp_path / "deep.png")
    assert np.array_equal(read_photo(tmp_path / "deep.png", 10**6), np.repeat(grey[..., None], 3, axis=2))


def test_published_weights_are_not_taken_for_a_folder_of_photos(photos, monkeypatch):
    (photos / "places2").mkdir()
    monkeypatch.chdir(photos)
    asked = []

    def fetch(name, options):
        asked.append(name)
        raise WeightsUnavailableError

    monkeypatch.setattr(methods, "fetch_weights", fetch)
    assert main([str(photos), "--weights", "places2"]) == 2
    assert asked == ["places2"]


@pytest.mark.slow
def test_workers_measure_the_same_and_a_protocol_cuts_squares_and_takes_nested_photos(photos, tiny_weights, capsys):
    (photos / "00000").mkdir()
    (photos / "1.png").rename(photos / "00000" / "1.png")
    found = []
    for workers in ("0", "2"):
        files = ["--json", str(photos / "figures.json"), "--workers", workers, "--protocol", "places2-test"]
        assert main([str(photos), "--weights", "--baselines", "mean", "telea", *files]) == 0
        content = json.loads((photos / "figures.json").read_text())
        found.append(
            [{name: row[name] for name in row if name not in ("seconds", "memory_mb")} for row in content["photos"]]
        )
    assert found[0] == found[1] and len(found[0]) == 4
    assert all(row["mask"] == "half" and 0.4 <= row["mask_fraction"] <= 0.5 for row in found[0])
    assert {row["photo"] for row in found[0]} == {"0.png", "1.png"}
    printed = capsys.readouterr().out
    assert "10,000 photos" in printed and "9.48" in printed


def test_masks_of_others_are_taken_from_files(photos, tmp_path_factory, capsys):
    assert main([str(photos), "--weights", "--protocol", "ffhq"]) == 2
    assert "masks of LaMa: name a folder of them with --mask-files" in capsys.readouterr().err
    masks = tmp_path_factory.mktemp("masks")
    pixels = np.zeros((64, 64), np.uint8)
    pixels[16:48, 16:48] = 255
    Image.fromarray(pixels).save(masks / "box.png")
    files = ["--json", str(masks / "figures.json"), "--mask-files", str(masks)]
    assert main([str(photos), "--weights", "--baselines", "mean", "--protocol", "ffhq", *files]) == 0
    rows = json.loads((masks / "figures.json").read_text())["photos"]
    assert [(row["mask"], row["mask_fraction"]) for row in rows] == [("files", 0.25)] * 2
    Image.fromarray(pixels[8:, 8:]).save(masks / "1.png")  # belongs to the photo of that name
    (masks / "box.png").rename(masks / "0.png")
    assert main([str(photos), "--weights", "--baselines", "mean", *files]) == 0
    rows = json.loads((masks / "figures.json").read_text())["photos"]
    found = [row["mask_fraction"] for row in rows]
    assert found == [pytest.approx(0.25, abs=0.01), pytest.approx((32 / 56) ** 2, abs=0.01)]


def test_sums_of_workers_are_those_of_one_process():
    class Metric:
        def __init__(self):
            for name in SUMS:
                setattr(self, name, torch.zeros(3))

    parts = Perceptual.__new__(Perceptual)  # its networks are not to be had
    parts.fid_metrics = defaultdict(Metric)
    for number in (1, 2):
        worker = Perceptual.__new__(Perceptual)
        worker.fid_metrics = defaultdict(Metric)
        for place, name in enumerate(SUMS):
            setattr(worker.fid_metrics["text", "mean"], name, torch.full((3,), float(number * 10 + place)))
        parts.merge(worker.state())
    expected = {name: 30.0 + 2 * place for place, name in enumerate(SUMS)}
    merged = parts.fid_metrics["text", "mean"]
    assert {name: float(getattr(merged, name)[0]) for name in SUMS} == expected
    assert merged.orig_dtype is torch.float32  # torchmetrics computes nothing without it


CHEAP = ["--weights", "--baselines", "mean", "--masks", "objects", "text", "--no-features"]


def test_another_program_fills_written_cases_and_is_measured_beside_the_others(photos, tmp_path_factory, capsys):
    cases = tmp_path_factory.mktemp("out") / "cases"
    assert main([str(photos), *CHEAP, "--write-cases", str(cases)]) == 0
    assert "4 photos and masks are in" in capsys.readouterr().out
    results = cases.parent / "brush"
    for path in (cases / "photos").glob("*/*.png"):
        image = np.array(Image.open(path))
        mask = np.asarray(Image.open(cases / "masks" / path.parent.name / path.name)) > 0
        assert len(np.unique(image[mask], axis=0)) == 1  # the other program does not see what it is to find either
        image[mask] = (9, 99, 199)
        target = results / path.parent.name / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(target)
    (results / "text" / "1.png").unlink()
    found = ["--against", str(results), "python:tests.jobs.test_evaluate:green", "--json", str(cases / "figures.json")]
    assert main([str(photos), *CHEAP, *found]) == 0
    content = json.loads((cases / "figures.json").read_text())
    names = ["mean", "brush", "tests.jobs.test_evaluate:green"]
    assert [(row["mask"], row["method"]) for row in content["means"]] == [
        (k, n) for k in ("text", "objects") for n in names
    ]
    by_name = {(row["mask"], row["method"]): row for row in content["means"]}
    assert (by_name["text", "brush"]["photos"], by_name["text", "brush"]["failed"]) == (1, 1)
    assert "seconds" not in by_name["text", "brush"] and by_name["text", names[2]]["seconds"] > 0
    assert content["notes"] == [
        "brush: 1 fills are missing, so its means are over fewer photos than the others'; the first is that of 1.png "
        f"(text): there is no text/1.png in {results}"
    ]
    assert content["notes"][0] in capsys.readouterr().out


def green(image, mask):
    return np.broadcast_to(np.uint8([0, 255, 0]), image.shape)


def test_results_of_another_size_or_for_other_holes_are_not_measured(photos, tmp_path_factory, capsys):
    results = tmp_path_factory.mktemp("out") / "old"
    (results / "objects").mkdir(parents=True)
    arguments = [
        str(photos),
        "--weights",
        "--baselines",
        "--masks",
        "objects",
        "--no-features",
        "--against",
        str(results),
    ]
    for name in ("0.png", "1.png"):
        Image.open(photos / name).save(results / "objects" / name)
    assert main(arguments) == 3
    assert "holds the photo itself: it was made for other holes" in capsys.readouterr().out
    Image.new("RGB", (9, 9)).save(results / "objects" / "0.png")
    assert main(arguments) == 2
    assert "the result for 0.png (objects) must be (100, 140, 3) uint8, got (9, 9, 3)" in capsys.readouterr().err


def test_photos_whose_results_would_have_one_name_are_refused(photos, capsys):
    Image.open(photos / "0.png").save(photos / "0.webp")
    assert main([str(photos), "--against", str(photos)]) == 2
    assert "have the same name; rename one of them" in capsys.readouterr().err


def test_cases_are_not_mixed_with_what_a_folder_holds(photos, capsys):
    assert main([str(photos), *CHEAP, "--write-cases", str(photos)]) == 2
    assert "is not empty" in capsys.readouterr().err


def test_fid_is_left_out_where_less_than_two_photos_have_a_fill():
    class Metric:
        real_features_num_samples = torch.tensor(1)

    perceptual = Perceptual.__new__(Perceptual)  # its networks are not to be had
    perceptual.fid_metrics = {("text", "mean"): Metric()}
    assert perceptual.of_set("text", "mean") == {}
    assert perceptual.notes() == ["fid is left out for mean (text): it filled fewer than 2 photos"]


def test_mask_of_a_photo_is_that_of_its_name_unless_two_have_it():
    files = [Path("masks") / name for name in ("a/0.png", "a/1.png", "b/1.png")]
    config = EvaluationConfig([], [], InpaintSettings(), [], 0, 10**6, mask_files=files)
    assert config.masks_of(Path("0.jpg")) == files[:1]
    by_hash = [config.masks_of(Path(f"{name}.jpg"))[0] for name in ("1", *"efghijklmn")]
    assert set(by_hash) == set(files)


def test_names_in_votes_and_of_files_do_not_control_the_terminal(tmp_path, capsys):
    pair = Pair(0, "a.png", "text", "\x1b]0;title\x07nano", "telea").sealed()
    (tmp_path / "votes.json").write_text(json.dumps({"votes": [{"pair": pair, "choice": "left"}]}))
    assert main(["--votes", str(tmp_path / "votes.json")]) == 0
    photos, results = tmp_path / "photos", tmp_path / "results" / "objects"
    for folder in (photos, results):
        folder.mkdir(parents=True)
    for name in ("a\x1b[2J.png", "b.png"):
        Image.fromarray(textured(100, 140)).save(photos / name)
    Image.new("RGB", (140, 100)).save(results / "b.png")
    assert main([str(photos), *CHEAP, "--masks", "objects", "--against", str(results.parent)]) == 0
    printed = capsys.readouterr().out
    assert r"\x1b]0;title\x07nano" in printed and r"that of a\x1b[2J.png" in printed and "\x1b" not in printed


def broken(image, mask):
    raise RuntimeError("no such model")


def test_method_that_fills_no_hole_is_said_and_makes_the_exit_code_3(photos, capsys):
    page = photos / "out" / "page.html"
    against = ["--against", "python:tests.jobs.test_evaluate:broken"]
    assert main([str(photos), *CHEAP, *against, "--page", str(page)]) == 3
    printed = capsys.readouterr().out
    assert "broken: all 4 fills are missing; the first is that of 0.png (objects)" in printed
    assert "the page shows no pairs" in printed and "the page shows no pairs" in page.read_text()


def test_page_of_one_method_is_refused_before_measuring(photos, capsys, monkeypatch):
    monkeypatch.setattr(evaluate, "PROGRESS_EVERY_S", 0)
    page = photos / "out" / "page.html"
    assert main([str(photos), *CHEAP, "--page", str(page)]) == 2
    said = capsys.readouterr()
    assert "--page compares two methods or more, got only mean" in said.err and "measured" not in said.err
    assert not page.exists()
