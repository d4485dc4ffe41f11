"""Signed results, read back by C2PA's own reader."""

import io
import json

import c2pa
import numpy as np
import pytest
from PIL import Image

from pipeline.codecs.metadata.provenance import COMPUTED, INPAINTED
from pipeline.signing.credentials import read_credentials
from pipeline.signing.signer import LOST_MANIFEST, ResultSigner, read_state
from tests.conftest import saved, textured
from tests.pipeline.signing.certificates import KEYS, write_credentials

PHOTO = Image.fromarray(textured(60, 80))
RESULT = Image.fromarray(255 - textured(60, 80))
MEDIA = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "TIFF": "image/tiff"}


@pytest.fixture(scope="module")
def signer(tmp_path_factory) -> ResultSigner:
    return ResultSigner(read_credentials(write_credentials(tmp_path_factory.mktemp("signer"))))


def store_of(data: bytes, container: str) -> dict:
    with c2pa.Reader(MEDIA[container], io.BytesIO(data)) as reader:
        return json.loads(reader.json())


def active(store: dict) -> dict:
    return store["manifests"][store["active_manifest"]]


def actions_of(store: dict) -> list[dict]:
    (actions,) = (each["data"]["actions"] for each in active(store)["assertions"] if each["label"] == "c2pa.actions.v2")
    return actions


def signed_by_a_camera(folder, container: str = "JPEG", thumbnail: bool = True) -> bytes:
    """A photo with a manifest of its own, which another program has signed, with a thumbnail."""
    kept = read_credentials(write_credentials(folder))
    info = c2pa.C2paSignerInfo(kept.algorithm.encode(), kept.certificates, kept.key, None)
    settings = c2pa.Settings.from_dict({"builder": {"thumbnail": {"enabled": thumbnail}}})
    actions = {"actions": [{"action": "c2pa.created", "digitalSourceType": COMPUTED.uri}]}
    manifest = {
        "claim_generator_info": [{"name": "a camera"}],
        "assertions": [{"label": "c2pa.actions.v2", "data": actions}],
    }
    file = io.BytesIO()
    with c2pa.Builder(manifest, c2pa.Context(settings)) as builder:
        builder.sign(c2pa.Signer.from_info(info), MEDIA[container], io.BytesIO(saved(PHOTO, container)), file)
    return file.getvalue()


@pytest.mark.parametrize("container", MEDIA)
def test_signature_is_valid_and_pixels_stay(signer, container):
    data = saved(RESULT, container)
    signed, note = signer.sign(data, container, saved(PHOTO, "PNG"), "PNG", INPAINTED)
    assert note is None and read_state(signed, container) == ("Valid", [])
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(signed))), np.asarray(Image.open(io.BytesIO(data))))
    store = store_of(signed, container)
    said = [(each["action"], each.get("digitalSourceType")) for each in actions_of(store)]
    converted = [] if container == "PNG" else [("c2pa.converted", None)]
    assert said == [("c2pa.opened", None), ("c2pa.edited", INPAINTED.uri), *converted]
    (ingredient,) = active(store)["ingredients"]
    assert ingredient["relationship"] == "parentOf" and "active_manifest" not in ingredient
    assert "thumbnail" not in json.dumps(store) and "time" not in active(store)["signature_info"]


@pytest.mark.parametrize("algorithm", KEYS)
def test_every_kind_of_key_signs(tmp_path, algorithm):
    ResultSigner(read_credentials(write_credentials(tmp_path, algorithm))).check()


@pytest.mark.parametrize("container", MEDIA)
def test_tampered_result_is_detected(signer, container):
    signed, _ = signer.sign(saved(RESULT, container), container, saved(PHOTO, "PNG"), "PNG", INPAINTED)
    tampered = bytearray(signed)
    place = signed.index(saved(RESULT, container)[-400:-300])
    tampered[place] ^= 1
    state, failures = read_state(bytes(tampered), container)
    assert state == "Invalid" and any("mismatch" in code for code in failures)


@pytest.mark.parametrize("container", ["JPEG", "PNG"])
def test_photo_with_a_manifest_is_an_ingredient_without_its_thumbnails(signer, tmp_path, container):
    photo = signed_by_a_camera(tmp_path, container)
    thumbnail = _thumbnail_of(photo, container)
    assert thumbnail[100:300] in photo
    signed, note = signer.sign(saved(RESULT, "JPEG"), "JPEG", photo, container, INPAINTED)
    store = store_of(signed, "JPEG")
    assert note is None and store["validation_state"] == "Valid" and len(store["manifests"]) == 2
    (ingredient,) = active(store)["ingredients"]
    before = store["manifests"][ingredient["active_manifest"]]
    assert before["claim_generator_info"][0]["name"] == "a camera"
    assert thumbnail[100:300] not in signed and signed.count(b"\xff\xd8\xff") == 1
    assert [each["action"] for each in actions_of(store)].count("c2pa.redacted") == 1


def test_results_of_results_keep_the_whole_chain_without_a_picture(signer, tmp_path):
    photo = signed_by_a_camera(tmp_path)
    once, _ = signer.sign(saved(RESULT, "JPEG"), "JPEG", photo, "JPEG", INPAINTED)
    twice, note = signer.sign(saved(PHOTO, "PNG"), "PNG", once, "JPEG", INPAINTED)
    store = store_of(twice, "PNG")
    assert note is None and store["validation_state"] == "Valid" and len(store["manifests"]) == 3
    assert b"\xff\xd8\xff" not in twice


def test_damaged_manifest_of_a_photo_is_left_out_and_told(signer, tmp_path):
    photo = bytearray(signed_by_a_camera(tmp_path))
    place = photo.index(b"c2pa.claim")
    photo[place - 40 : place + 40] = bytes(80)
    signed, note = signer.sign(saved(RESULT, "JPEG"), "JPEG", bytes(photo), "JPEG", INPAINTED)
    assert note in (None, LOST_MANIFEST) and read_state(signed, "JPEG")[0] == "Valid"
    assert (note is None) == (len(store_of(signed, "JPEG")["manifests"]) == 2)


def test_private_result_says_nothing_of_its_photo(signer, tmp_path):
    photo = signed_by_a_camera(tmp_path)
    signed, note = signer.sign(saved(RESULT, "JPEG"), "JPEG", b"", "JPEG", INPAINTED)
    assert note is None and read_state(signed, "JPEG")[0] == "Valid" and b"a camera" in photo
    assert b"a camera" not in signed and len(store_of(signed, "JPEG")["manifests"]) == 1


def test_format_without_room_is_told(signer):
    data = saved(RESULT, "BMP")
    note = "not signed: BMP has no room for a C2PA manifest"
    assert signer.sign(data, "BMP", saved(PHOTO, "BMP"), "BMP", INPAINTED) == (data, note)


@pytest.mark.parametrize("container", ["BMP", "GIF", "AVIF"])
def test_photo_of_any_format_can_be_an_ingredient(signer, container):
    signed, note = signer.sign(saved(RESULT, "PNG"), "PNG", saved(PHOTO, container), container, INPAINTED)
    assert note is None and read_state(signed, "PNG")[0] == "Valid"


def _thumbnail_of(data: bytes, container: str) -> bytes:
    with c2pa.Reader(MEDIA[container], io.BytesIO(data)) as reader:
        found = reader.get_active_manifest()["thumbnail"]
        file = io.BytesIO()
        reader.resource_to_stream(found["identifier"], file)
    return file.getvalue()
