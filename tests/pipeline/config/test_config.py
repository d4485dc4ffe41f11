from dataclasses import replace

import pytest

from moebius import MoebiusConfig
from pipeline.config.job import JobConfig, MaskConfig, ModelConfig, RunConfig, SinkConfig, SourceConfig, WindowConfig
from pipeline.config.public import public_configuration
from pipeline.errors import ConfigError


@pytest.mark.parametrize(
    ("build", "key"),
    [
        (lambda: MaskConfig(kind="magic"), "mask.kind must be one of paired, static"),
        (lambda: MaskConfig(threshold=2), "mask.threshold"),
        (lambda: MaskConfig(max_fraction=0), "mask.max_fraction"),
        (lambda: MaskConfig(template="{nope}.png"), "mask.template"),
        (lambda: MaskConfig(template="{stem.__class__}.png"), "mask.template"),
        (lambda: MaskConfig(template="{stem!r:>9}.png"), "mask.template"),
        (lambda: MaskConfig(template="{stem.png"), "mask.template"),
        (lambda: RunConfig(retry_failed="ture"), "run.retry_failed must be true, false or error types"),
        (lambda: MaskConfig(template=""), "mask.template must not be empty"),
        (lambda: MaskConfig(kind="coco", categories=[[7]]), "mask.categories must be a list of names or ids"),
        (lambda: SourceConfig(uri="s3://"), "source.uri must name a bucket"),
        (lambda: SinkConfig(format="webdataset", carry=["txt", "png"]), "sink.carry cannot take png"),
        (lambda: SinkConfig(format="webdataset", image_format="webp", carry=["webp"]), "sink.carry cannot take webp"),
        (lambda: SinkConfig(format="webdataset", carry=[".PNG"]), "sink.carry cannot take png"),
        (lambda: SinkConfig(format="webdataset", carry=["sample_id"]), "sink.carry cannot take sample_id"),
        (lambda: SinkConfig(format="parquet", carry=["width", "image"]), "sink.carry cannot take image, width"),
        (lambda: SinkConfig(image_format="bmp"), "sink.image_format"),
        (lambda: SinkConfig(metadata="none"), "sink.metadata must be one of keep, mark, private"),
        (lambda: RunConfig(actors=0), "run.actors"),
        (lambda: JobConfig(model=ModelConfig(strength=0)), "strength"),
        (lambda: SinkConfig(uri=""), "uri"),
    ],
)
def test_value_out_of_range_names_its_key(build, key):
    with pytest.raises(ConfigError, match=key):
        build()


def test_local_uris_become_absolute_and_others_stay(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert SinkConfig(uri="out/").uri == str(tmp_path / "out")
    assert SinkConfig(uri="s3://bucket/x").uri == "s3://bucket/x"
    assert ModelConfig(weights="mine").weights == str(tmp_path / "mine")
    assert ModelConfig(weights="places2").weights == "places2"


def test_folder_with_the_name_of_a_shard_is_a_folder(tmp_path):
    (tmp_path / "table.parquet").mkdir()
    folder, shard = (SourceConfig("parquet", f"{tmp_path}/{name}.parquet") for name in ("table", "single"))
    assert (folder.uri, folder.pattern) == (f"{tmp_path}/table.parquet", "**/*")
    assert (shard.uri, shard.pattern) == (str(tmp_path), "single.parquet")
    assert SinkConfig(format="webdataset", image_format="png", carry=["jpeg"]).carry == ["jpeg"]


def test_spellings_of_an_extension_are_one(tmp_path):
    def job(mask: MaskConfig, image: str | None = None, carry: str = "txt") -> JobConfig:
        sink = SinkConfig(format="webdataset", carry=[carry])
        return JobConfig(source=SourceConfig("webdataset", str(tmp_path), image=image), mask=mask, sink=sink)

    plain = job(MaskConfig(kind="member", member="hole.png"), "jpg")
    assert plain.fingerprint == job(MaskConfig(kind="member", member=".HOLE.png"), ".JPG", ".TXT").fingerprint
    assert plain.fingerprint != job(MaskConfig(kind="member", member="other.png"), "jpg").fingerprint
    assert plain.fingerprint != job(MaskConfig(kind="member", member="hole.png"), "png").fingerprint
    assert job(MaskConfig(kind="alpha", member="x")).fingerprint == job(MaskConfig(kind="alpha")).fingerprint
    columns = [JobConfig(SourceConfig("parquet"), MaskConfig("column", column=name)) for name in ("mask", "other")]
    assert columns[0].fingerprint != columns[1].fingerprint
    assert RunConfig(retry_failed="MissingMask, error,").retried_types == ["MissingMask", "error"]


def test_fingerprint_follows_what_decides_a_result():
    base = JobConfig()
    same = [
        replace(base, sink=SinkConfig(uri="elsewhere/")),
        replace(base, mask=MaskConfig(uri="other/")),
        replace(base, model=ModelConfig(batch_size=7)),
        replace(base, run=RunConfig(actors=3)),
        replace(base, storage={"key": "x"}),
    ]
    other = [
        replace(base, mask=MaskConfig(dilate_px=1)),
        replace(base, model=ModelConfig(steps=19)),
        replace(base, model=ModelConfig(seed=1)),
        replace(base, model=ModelConfig(sampler="dpm++")),
        replace(base, model=ModelConfig(guidance_interval=[0, 500])),
        replace(base, model=ModelConfig(noise_offset=0.0357)),
        replace(base, model=ModelConfig(latent_mask="nearest")),
        replace(base, model=ModelConfig(start="colours")),
        replace(base, model=ModelConfig(candidates=2)),
        replace(base, window=WindowConfig(refine=0.5)),
        replace(base, sink=SinkConfig(image_format="png")),
        replace(base, sink=SinkConfig(metadata="mark")),
        replace(base, sink=SinkConfig(metadata="private")),
    ]
    assert {config.fingerprint for config in same} == {base.fingerprint}
    assert len({config.fingerprint for config in [base, *other]}) == 14


def test_fingerprints_of_sinks_from_before_a_key_came_stay():
    assert JobConfig().fingerprint == "60ecef6ebd25b9cf"
    model = ModelConfig(steps=10, sampler="dpm++", strength=1.0)
    assert JobConfig(model=model, window=WindowConfig(context=1.25)).fingerprint == "2eec681f7e808cf1"


def test_strength_of_a_second_pass_without_a_step_is_refused():
    with pytest.raises(
        ConfigError, match=r"window\.refine must be 0, or below 1 with steps·refine at least 1, got 0\.04"
    ):
        JobConfig(window=WindowConfig(refine=0.04))


def test_fingerprint_of_guidance_auto_is_that_of_the_number_it_stands_for():
    auto, sizes = JobConfig(model=ModelConfig(guidance="auto")), MoebiusConfig()
    assert auto.for_weights(sizes).fingerprint == JobConfig().fingerprint
    assert auto.for_weights(replace(sizes, guidance=1.0)) == JobConfig(model=ModelConfig(guidance=1.0))
    assert JobConfig().for_weights(replace(sizes, guidance=1.0)) == JobConfig()


def test_settings_of_the_noise_and_the_latent_mask_reach_the_model():
    chosen = JobConfig(model=ModelConfig(noise_offset=0.0357, latent_mask="nearest")).inpaint_settings
    assert (chosen.noise_offset, chosen.latent_mask) == (0.0357, "nearest")


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"noise_offset": -0.1}, "model.noise_offset must be a number from 0, got -0.1"),
        ({"noise_offset": float("nan")}, "model.noise_offset must be a number from 0, got nan"),
        ({"latent_mask": "max"}, "model.latent_mask must be one of any, nearest, got max"),
        ({"guidance_interval": [500, 100]}, "two timesteps in 0 … 999, the lower first, got"),
        ({"guidance_interval": [0]}, "two timesteps"),
        ({"sampler": "euler"}, "sampler must be one of ddim, dpm"),
        ({"start": "fill"}, "model.start must be one of auto, photo, colours, got fill"),
        ({"guidance": "strong"}, "model.guidance must be auto or a number from 0, got strong"),
    ],
)
def test_samplers_and_intervals_that_there_are_not_are_refused(settings, rule):
    with pytest.raises(ConfigError, match=rule):
        JobConfig(model=ModelConfig(**settings))


@pytest.mark.parametrize("guidance", [2, 2.0, "2"])
def test_guidance_is_a_number_in_whatever_form_it_is_written(guidance):
    assert JobConfig(model=ModelConfig(guidance=guidance)).fingerprint == JobConfig().fingerprint


def test_further_mask_is_published_without_its_secrets():
    further = MaskConfig(kind="detect", model="https://example.com/a.onnx?X-Amz-Signature=SECRET")
    assert "SECRET" not in str(public_configuration(JobConfig(mask=MaskConfig(also=[further]))))


@pytest.mark.parametrize(
    ("key", "value"), [("invert", "false"), ("dilate_px", 4.5), ("dilate_px", "8"), ("letters", 1)]
)
def test_value_of_another_type_in_a_further_mask_is_refused(key, value):
    with pytest.raises(ConfigError, match=rf"mask\.also\[0\]\.{key} must be a value such as"):
        MaskConfig(also=[{"kind": "text", key: value}])
    assert MaskConfig(also=[{"kind": "text", "text_score": 1}]).also[0].text_score == 1.0
