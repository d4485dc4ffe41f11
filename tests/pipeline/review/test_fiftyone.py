import base64
import io
import json
import shutil
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.errors import ConfigError
from pipeline.review.draw import draw_sample
from pipeline.review.hand_out import hand_out
from pipeline.review.take_back import take_back
from pipeline.storage.storage import Storage
from pipeline.verdicts.files import read_mask_of
from tests.pipeline.review.conftest import LARGE, NAMES
from tests.pipeline.review.test_labelstudio import sink
from tests.pipeline.review.test_take_back import reviews_of

__all__ = ["sink"]


@pytest.fixture
def folder(reviewed_job, tmp_path) -> Path:
    own = Storage(reviewed_job.sink.uri)
    hand_out(own, {}, draw_sample(own, None, None, 100, 0), "fiftyone", tmp_path / "review")
    return tmp_path / "review"


def edited(folder: Path, edit) -> None:
    """Change samples by their name, as an export of the tagged dataset has them."""
    path = folder / "samples.json"
    content = json.loads(path.read_text())
    edit({sample["moebius_sample_id"]: sample for sample in content["samples"]})
    path.write_text(json.dumps(content))


def packed(mask: np.ndarray) -> dict:
    """An array as FiftyOne stores it in JSON."""
    buffer = io.BytesIO()
    np.save(buffer, mask, allow_pickle=False)
    data = base64.b64encode(zlib.compress(buffer.getvalue())).decode()
    return {"_cls": "Segmentation", "mask": {"$binary": {"base64": data, "subType": "00"}}}


def test_dataset_has_pictures_of_the_stored_size_with_their_masks(folder, reviewed_job):
    samples = json.loads((folder / "samples.json").read_text())["samples"]
    assert sorted(sample["moebius_sample_id"] for sample in samples) == sorted([*NAMES, "004.png", LARGE])
    for sample in samples:
        mask = Image.open(folder / sample["hole"]["mask_path"])
        assert Image.open(folder / sample["filepath"]).size == Image.open(folder / sample["before"]).size == mask.size
        stored = Path(reviewed_job.mask.uri, sample["moebius_sample_id"]).with_suffix(".png")
        assert np.array_equal(np.asarray(mask) > 0, np.asarray(Image.open(stored)) > 0)


@pytest.mark.parametrize("in_json", [False, True])
def test_tags_are_verdicts_and_only_changed_masks_are_corrected_ones(folder, sink, in_json):
    mask = np.zeros((80, 96), np.uint8)
    mask[10:40, 30:60] = 255

    def edit(samples):
        samples["004.png"]["tags"] = ["seen", "bad"]
        samples["004.png"]["note"] = "larger"
        if in_json:
            samples["004.png"]["hole"] = packed(mask // 255)
        else:
            Image.fromarray(mask).save(folder / samples["004.png"]["hole"]["mask_path"])
        samples[LARGE]["tags"] = ["good"]
        del samples[NAMES[0]]["moebius_sample_id"]

    edited(folder, edit)
    taken = take_back(sink, folder)
    assert taken.verdicts == {"bad": 1, "good": 1} and taken.corrected_masks == 1
    assert taken.left_out == {"other samples": 1, "without a verdict": 3}
    first, second = reviews_of(sink)
    assert (first["sample_id"], first["note"], second["corrected_sha256"]) == ("004.png", "larger", None)
    stored = np.asarray(Image.open(io.BytesIO(read_mask_of(sink, taken.key, "004.png"))))
    assert np.array_equal(stored, mask)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tags": ["good", "bad"]}, "004.png has the tags good and bad; leave one of them"),
        ({"tags": ["bad"], "hole": {"mask_path": "../secret.png"}}, "secret.png is not below"),
        ({"tags": ["bad"], "hole": {"mask": {"$binary": {"base64": "AAAA"}}}}, "the mask cannot be read"),
        ({"tags": ["bad"], "hole": packed(np.zeros(4, np.uint8))}, r"has the shape \(4,\), not"),
        ({"tags": ["bad"], "hole": {"mask": 3}}, "cannot be read"),
    ],
)
def test_invalid_sample_is_refused(folder, sink, change, message):
    shutil.copy(folder / "fields" / "hole" / "00001.png", folder.parent / "secret.png")
    edited(folder, lambda samples: samples["004.png"].update(change))
    with pytest.raises(ConfigError, match=message):
        take_back(sink, folder)
