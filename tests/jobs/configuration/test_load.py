"""Configurations that build on others, and where their values come from."""

import re

import pytest

from jobs.configuration.load import load_config, load_training_config, load_with_origins
from pipeline.errors import ConfigError
from tests.conftest import ROOT


def write(folder, **files):
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder


def refusal(path, *overrides) -> str:
    with pytest.raises(ConfigError) as error:
        load_config(str(path), overrides)
    return str(error.value)


def test_file_wins_over_its_bases_and_later_bases_over_earlier_ones(tmp_path):
    write(
        tmp_path,
        first="model: {steps: 5, seed: 1, guidance: 1.5}\nmask: {categories: [a]}",
        second="base: sub/deep.yaml\nmodel: {seed: 2}",
        job="base: [first.yaml, second.yaml]\nmodel:\n  guidance: 3.0\nmask: {categories: [b]}",
    )
    (tmp_path / "sub").mkdir()
    write(tmp_path / "sub", deep="window: {context: 2.0}\nmodel: {seed: 9}")
    config = load_config(str(tmp_path / "job.yaml"), ["model.strength=0.5"])
    assert (config.model.steps, config.model.seed, config.model.guidance, config.model.strength) == (5, 2, 3.0, 0.5)
    assert config.window.context == 2.0 and config.mask.categories == ["b"]


def test_every_value_names_its_file_and_line_override_or_variable(tmp_path, monkeypatch):
    write(
        tmp_path,
        base="model:\n  steps: 5\n  seed: 1",
        job="base: base.yaml\nsource: {uri: '${oc.env:PHOTOS}'}\nmodel:\n\n  seed: 2",
    )
    monkeypatch.setenv("PHOTOS", "s3://bucket/photos")
    loaded = load_with_origins(str(tmp_path / "job.yaml"), ["run.actors=2"])
    assert loaded.config.source.uri == "s3://bucket/photos"
    assert loaded.origins == {
        "model.steps": f"{tmp_path}/base.yaml:2",
        "model.seed": f"{tmp_path}/job.yaml:5",
        "source.uri": f"{tmp_path}/job.yaml:2, environment PHOTOS",
        "run.actors": "override",
    }


def test_cycle_missing_base_and_unknown_key_name_file_line_and_key(tmp_path):
    write(
        tmp_path,
        a="model: {}\nbase: b.yaml",
        b="base: a.yaml",
        lost="model: {}\n\nbase: nowhere.yaml",
        typo="mask:\n  kind: static\nmodel:\n  stepz: 3",
        built="base: typo.yaml",
        wrong="model:\n  steps: many",
        range="\nmask: {kind: magic}",
        number="base: 7",
        variable="sink:\n  uri: ${oc.env:NOT_SET_ANYWHERE}",
        broken="model: {steps: 3",
    )
    assert re.search(r"a\.yaml: base: the file is its own base, through b\.yaml", refusal(tmp_path / "a.yaml"))
    assert refusal(tmp_path / "lost.yaml") == (
        f"{tmp_path}/lost.yaml:3: base: no configuration file {tmp_path}/nowhere.yaml"
    )
    assert refusal(tmp_path / "built.yaml").startswith(f"{tmp_path}/typo.yaml:4: model.stepz: Key 'stepz' not in")
    assert refusal(tmp_path / "wrong.yaml").startswith(f"{tmp_path}/wrong.yaml:2: model.steps: ")
    assert refusal(tmp_path / "range.yaml").startswith(f"{tmp_path}/range.yaml:2: mask.kind must be one of paired")
    assert f"{tmp_path}/number.yaml:1: base: must be the name of a file" in refusal(tmp_path / "number.yaml")
    assert re.search(r"variable\.yaml:2, .*: sink\.uri: .*NOT_SET_ANYWHERE", refusal(tmp_path / "variable.yaml"))
    assert f"{tmp_path}/broken.yaml: not valid YAML: " in refusal(tmp_path / "broken.yaml")
    assert refusal(tmp_path / "built.yaml").count("\n") == 0


def test_an_override_that_is_wrong_names_its_key_and_no_value(tmp_path):
    write(tmp_path, job="")
    assert refusal(tmp_path / "job.yaml", "model.stepz=3").startswith("model.stepz: ")
    assert "hunter2" not in refusal(tmp_path / "job.yaml", "storage.secret=hunter2", "run.actors=[hunter2")


def test_storage_overrides_are_text_but_for_switches_and_options_of_options(tmp_path):
    write(tmp_path, job="")
    given = ["anon=False", "key=007", "token=null", "config_kwargs.read_timeout=60", "client_kwargs.verify=false"]
    storage = load_config(str(tmp_path / "job.yaml"), [f"storage.{option}" for option in given]).storage
    nested = {"config_kwargs": {"read_timeout": 60}, "client_kwargs": {"verify": False}}
    assert storage == {"anon": False, "key": "007", "token": None, **nested}


def test_value_of_another_kind_names_its_key(tmp_path):
    write(tmp_path, job="")
    for key in ("mask.categories", "sink.carry", "model.guidance_interval"):
        assert refusal(tmp_path / "job.yaml", f"{key}={{a: 1}}").startswith(f"{key}: must be a list")
    with pytest.raises(ConfigError, match="bf16: must be true or false, got 2"):
        load_training_config(str(ROOT / "conf" / "distill.yaml"), ["bf16=2"])


def test_overrides_of_open_keys_keep_the_type_that_they_are_written_in(tmp_path):
    write(tmp_path, job="mask: {kind: mark, uri: logo.png}")
    overrides = ["verify.model={kind: text, text_score: 0.4}", "mask.repeat=true", "mask.max_opacity=0.5"]
    config = load_config(str(tmp_path / "job.yaml"), overrides)
    assert config.verify.model == {"kind": "text", "text_score": 0.4}
    assert config.mask.repeat is True and config.mask.max_opacity == 0.5
    assert load_config(str(tmp_path / "job.yaml"), ["run.notify=true", "model.guidance=2"]).run.notify == "true"


def test_further_masks_have_values_of_the_types_of_their_keys(tmp_path, monkeypatch):
    monkeypatch.setenv("INVERT", "false")
    write(tmp_path, job="mask: [{kind: paired}, {kind: text, invert: '${oc.env:INVERT}', text_score: 1}]")
    (further,) = load_config(str(tmp_path / "job.yaml"), []).mask.also
    assert further.invert is False and further.text_score == 1.0 and type(further.text_score) is float
