"""Refusals of a mix: they name the keys that differ from the newest run with the settings of the rows."""

import copy
import json
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.config.job import JobConfig, MaskConfig, ModelConfig, RunConfig
from pipeline.config.public import deciding_keys
from pipeline.config.verify import VerifyConfig
from pipeline.errors import ConfigError
from tests.pipeline.conftest import four_photos
from tests.pipeline.flow_here import run_here

WAY_OUT = r"Do them again with run.redo_changed=true, some of them with run.select, or choose another sink.uri$"


def refusal(config: JobConfig, **sections) -> str:
    with pytest.raises(ConfigError, match=WAY_OUT) as refused:
        run_here(replace(config, **sections), "refused")
    return str(refused.value)


def runs(config: JobConfig) -> Path:
    return Path(config.sink.uri) / "runs"


def test_refusal_names_each_key_that_differs_and_no_other(here, tmp_path):
    config = four_photos(tmp_path)
    run_here(config)
    told = refusal(
        config,
        model=replace(config.model, steps=4, batch_size=7),
        mask=replace(config.mask, dilate_px=8),
        sink=replace(config.sink, format="webdataset", shard_samples=2),
    )
    assert f"{config.sink.uri} holds 4 rows made with other settings: " in told
    assert "settings: model.steps 20 → 4, mask.dilate_px 0 → 8, sink.format images → webdataset. Do" in told


def test_refusal_names_how_results_are_verified(here, tmp_path):
    config = four_photos(tmp_path)
    run_here(config)
    told = refusal(config, verify=VerifyConfig(model="text"))
    assert 'other settings: verify.model null → {"kind": "text"}' in told and "verify.dilate_px" not in told


def test_refusal_names_the_weights_that_differ(here, tmp_path):
    config = four_photos(tmp_path)
    run_here(config)
    assert "other settings: model.weights nano → untrained. Do" in refusal(config, model=ModelConfig("untrained"))


def test_rows_of_several_settings_are_compared_with_most_of_them(here, tmp_path):
    config = four_photos(tmp_path)
    run_here(config)
    one = RunConfig(select="sample_id = '000.png'")
    run_here(replace(config, model=ModelConfig(seed=5), run=one), "another")
    told = refusal(config, model=ModelConfig(seed=6))
    assert "holds 4 rows made with other settings, of most of them: model.seed 0 → 6. Do" in told


@pytest.mark.parametrize("left", ["nothing", "no JSON", "other JSON", "another run"])
def test_refusal_has_the_fingerprints_where_no_run_tells_the_settings(here, tmp_path, left):
    config = four_photos(tmp_path)
    run_here(config)
    (summary,) = runs(config).iterdir()
    said = json.loads(summary.read_text())
    texts = {"no JSON": "{", "other JSON": "[7]", "another run": json.dumps({**said, "config_fingerprint": "x"})}
    summary.unlink()
    if left in texts:
        summary.write_text(texts[left])
    told = refusal(config, model=replace(config.model, steps=4))
    weights = said["weights"]["fingerprint"]
    assert f"4 rows made with weights {weights} and settings {config.fingerprint}; this job has weights" in told


def test_key_that_an_older_run_does_not_know_counts_as_its_default(here, tmp_path):
    config = four_photos(tmp_path)
    run_here(config)
    (summary,) = runs(config).iterdir()
    said = json.loads(summary.read_text())
    del said["configuration"]["mask"]["close_px"]
    summary.write_text(json.dumps(said))
    assert "other settings: mask.close_px 0 → 2. Do" in refusal(config, mask=replace(config.mask, close_px=2))


def test_keys_that_decide_are_those_of_the_fingerprint():
    """Every key of these sections changes the fingerprint, or is not said to decide."""
    deciding = set(deciding_keys(JobConfig()))
    for name in ("model", "mask", "window", "sink", "source"):
        for key in vars(getattr(JobConfig(), name)):
            changed, section = copy.copy(JobConfig()), copy.copy(getattr(JobConfig(), name))
            if key in ("kind", "format"):
                value = {"mask": "alpha", "sink": "parquet", "source": "parquet"}[name]
            else:
                value = [MaskConfig("alpha")] if key == "also" else "another"
            object.__setattr__(section, key, value)
            object.__setattr__(changed, name, section)
            changes = changed.fingerprint != JobConfig().fingerprint
            assert changes is (f"{name}.{key}" in deciding), f"{name}.{key}"
