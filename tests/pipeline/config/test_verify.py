from dataclasses import replace

import pytest

from pipeline.config.job import JobConfig, MaskConfig
from pipeline.config.public import public_configuration
from pipeline.config.verify import VerifyConfig, described
from pipeline.errors import ConfigError
from pipeline.masks.base import fetched, pinned
from tests.pipeline.detection.onnx_models import red_box


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"ladder": ["dilate", "grow"]}, "verify.ladder: a rung must be one of dilate, seed, noise, got 'grow'"),
        ({"dilate_px": 0}, "verify.dilate_px is 0"),
        ({"around_px": -1}, "verify.around_px must not be negative, got -1"),
        ({"max_residual": 1.0}, "verify.max_residual must be at least 0 and below 1, got 1.0"),
        ({"residue": "drop"}, "verify.residue must be one of keep, fail, got 'drop'"),
        ({"model": "mask"}, "verify.model must be a detector, but mask.kind=paired finds nothing in pixels"),
        ({"model": {"kind": "static"}}, "verify.model must be a detector, but mask.kind=static"),
        ({"model": {"kind": "detect", "modle": "a.onnx"}}, "verify.model: mask has no key modle"),
    ],
)
def test_setting_that_cannot_work_is_refused_by_name(keys, words):
    with pytest.raises(ConfigError, match=words.replace("(", r"\(")):
        JobConfig(verify=VerifyConfig(**keys))


def test_word_file_and_keys_describe_a_detector():
    found = {
        "text": VerifyConfig(model="text").detector(MaskConfig()),
        "mask": VerifyConfig(model="mask").detector(MaskConfig(kind="text", text_score=0.3)),
        "file": VerifyConfig(model="/models/a.onnx").detector(MaskConfig()),
        "keys": VerifyConfig(model={"model": "/models/a.onnx", "score": 0.2}).detector(MaskConfig()),
    }
    assert [found[name].kind for name in found] == ["text", "text", "detect", "detect"]
    assert found["mask"].text_score == 0.3 and found["keys"].score == 0.2
    assert found["file"].model == found["keys"].model == ["/models/a.onnx"]
    assert VerifyConfig(model=described(found["keys"])).detector(MaskConfig()) == found["keys"]
    assert VerifyConfig().detector(MaskConfig()) is None


def test_settings_of_verification_decide_results_only_where_results_are_verified():
    usual = JobConfig()
    assert replace(usual, verify=VerifyConfig(dilate_px=3)).fingerprint == usual.fingerprint
    verified = replace(usual, verify=VerifyConfig(model="text"))
    others = [replace(verified.verify, **keys) for keys in ({"dilate_px": 3}, {"ladder": []}, {"residue": "fail"})]
    prints = {config.fingerprint for config in (usual, verified, *(replace(usual, verify=each) for each in others))}
    assert len(prints) == 5


def test_file_of_the_detector_is_identified_by_its_content(tmp_path):
    pytest.importorskip("onnxruntime")
    red_box(tmp_path / "a.onnx")
    (tmp_path / "b.onnx").write_bytes((tmp_path / "a.onnx").read_bytes())
    one, other = (pinned(JobConfig(verify=VerifyConfig(model=str(tmp_path / name)))) for name in ("a.onnx", "b.onnx"))
    assert one.fingerprint == other.fingerprint and one.verify.model["model"] == [str(tmp_path / "a.onnx")]
    (tmp_path / "b.onnx").write_bytes(b"another")
    with pytest.raises(ConfigError, match="SHA-256"):
        fetched(other)
    with pytest.raises(ConfigError, match="no file at"):
        pinned(JobConfig(verify=VerifyConfig(model=str(tmp_path / "c.onnx"))))


def test_uri_of_the_detector_is_published_without_its_secrets():
    config = JobConfig(verify=VerifyConfig(model="https://example.com/a.onnx?token=SECRET123"))
    assert "SECRET123" not in str(public_configuration(config)["verify"])


def test_several_detectors_of_masks_are_no_one_detector():
    mask = MaskConfig(kind="text", also=[MaskConfig(kind="python", function="a.b:c")])
    with pytest.raises(ConfigError, match=r"verify\.model=mask stands for one detector, but mask has several"):
        JobConfig(mask=mask, verify=VerifyConfig(model="mask"))
