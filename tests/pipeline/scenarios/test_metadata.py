"""``sink.metadata`` in whole jobs: each result as the policy says, and a row that tells where it could not be."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jobs import verify
from pipeline.config.job import JobConfig, MaskConfig, RunConfig, SinkConfig, SourceConfig
from pipeline.errors import ConfigError, JobError
from pipeline.manifest.log import Manifest
from pipeline.signing.signer import ResultSigner, SigningError, read_state
from pipeline.storage.storage import Storage
from tests.pipeline.codecs.metadata.telltale_photos import PHOTO, PHOTOS, XMP
from tests.pipeline.codecs.metadata.test_policy import COMPOSITE, SOURCE_TYPE, read, secrets_in
from tests.pipeline.flow_here import BeforeWork, run_here
from tests.pipeline.signing.certificates import write_credentials

NAMES = {"a.jpg": "jpeg", "b.png": "png", "c.webp": "webp", "d.tif": "tiff"}
BROKEN = "e.jpg"


@pytest.fixture
def config(tmp_path) -> JobConfig:
    """Photos with a hole and without, one of them with broken XMP, and formats that hold no XMP."""
    photos, masks = tmp_path / "photos", tmp_path / "masks"
    for folder in (photos, masks):
        (folder / "whole").mkdir(parents=True)
    hole = np.zeros((64, 96), np.uint8)
    hole[20:40, 30:50] = 255
    for name, case in NAMES.items():
        (photos / name).write_bytes(PHOTOS[case])
        (photos / "whole" / name).write_bytes(PHOTOS[case])
    (photos / BROKEN).write_bytes(PHOTOS["jpeg"].replace(XMP[-60:], b"<" * 60))
    PHOTO.save(photos / "f.bmp")
    for path in photos.rglob("*.*"):
        mask = Image.fromarray(hole * ("whole" not in str(path)))
        mask.save(masks / path.relative_to(photos).with_suffix(".png"))
    return JobConfig(
        source=SourceConfig(uri=str(photos)), mask=MaskConfig(uri=str(masks)), sink=SinkConfig(str(tmp_path / "out"))
    )


def rows_of(config: JobConfig) -> dict[str, dict]:
    return {row["sample_id"]: row for row in Manifest(Storage(config.sink.uri)).load().to_pylist()}


def result(row: dict) -> bytes:
    return Path(row["output_uri"]).read_bytes()


def test_marked_job_counts_what_it_could_not_mark(here, config):
    config = replace(config, sink=replace(config.sink, metadata="mark"))
    summary = run_here(config)
    rows = rows_of(config)
    for name in NAMES:
        _, _, xmp = read(result(rows[name]))
        assert xmp[SOURCE_TYPE] == COMPOSITE and rows[name]["metadata_note"] is None
        whole = rows[f"whole/{name}"]
        assert whole["status"] == "unchanged" and result(whole) == PHOTOS[NAMES[name]]
    assert rows[BROKEN]["metadata_note"] == "not marked: its XMP cannot be read"
    assert rows["f.bmp"]["metadata_note"] == "not marked: BMP has no room for XMP"
    assert b"<" * 60 in result(rows[BROKEN])
    start = "results with less metadata than sink.metadata promises: not marked: "
    assert summary.warnings == {f"{start}its XMP cannot be read": 1, f"{start}BMP has no room for XMP": 1}


def test_marked_job_makes_the_same_bytes_again(here, config):
    hashes = []
    for out in ("one", "two"):
        run_here(again := replace(config, sink=SinkConfig(f"{config.sink.uri}/{out}", metadata="mark")))
        hashes.append({name: row["output_sha256"] for name, row in rows_of(again).items()})
    assert hashes[0] == hashes[1]


def test_private_job_leaves_no_secret_in_any_result_without_a_hole_too(here, config):
    config = replace(config, sink=replace(config.sink, metadata="private"))
    run_here(config)
    rows = rows_of(config)
    assert {row["status"] for row in rows.values()} == {"ok", "unchanged"}
    for name, row in rows.items():
        assert secrets_in(result(row)) == [], name
        assert row["metadata_note"] is None
    assert rows["whole/a.jpg"]["blocks_changed"] == 0


def test_private_gif_without_a_hole_fails_with_the_format_to_set(here, config):
    folder = Path(config.source.uri)
    for path in folder.rglob("*.*"):
        path.unlink()
    PHOTO.convert("P").save(folder / "whole" / "g.gif", comment=b"my comment")
    Image.new("L", PHOTO.size).save(f"{config.mask.uri}/whole/g.png")
    run_here(replace(config, sink=replace(config.sink, metadata="private")))
    (row,) = rows_of(config).values()
    assert row["status"] == "failed" and "sink.image_format=source-or-png" in row["error_message"]
    sink = SinkConfig(f"{config.sink.uri}/png", metadata="private", image_format="source-or-png")
    run_here(config := replace(config, sink=sink))
    (row,) = rows_of(config).values()
    assert row["status"] == "unchanged" and secrets_in(result(row)) == []


def test_other_policy_on_the_same_sink_is_refused_and_redone_on_request(here, config):
    run_here(config)
    private = replace(config, sink=replace(config.sink, metadata="private"))
    with pytest.raises(ConfigError, match=r"sink\.metadata keep → private"):
        run_here(private)
    run_here(replace(private, run=RunConfig(redo_changed=True)))
    assert not any(secrets_in(result(row)) for row in rows_of(config).values())


@pytest.mark.parametrize("policy", ["keep", "mark", "private"])
def test_signed_job_signs_what_it_fills_and_says_what_it_cannot(here, config, tmp_path, policy):
    places = write_credentials(tmp_path / "credentials")
    sink = replace(config.sink, metadata=policy, c2pa=places)
    config = replace(config, sink=sink)
    summary = run_here(config)
    rows = rows_of(config)
    for name in NAMES:
        data, row = result(rows[name]), rows[name]
        assert read_state(data, row["output_format"].upper()) == ("Valid", []) and row["metadata_note"] is None
        assert hashlib.sha256(data).hexdigest() == row["output_sha256"] and len(data) == row["output_bytes"]
        assert policy != "private" or secrets_in(data) == []
        assert b"c2pa" not in result(rows[f"whole/{name}"])
    assert "not signed: BMP has no room for a C2PA manifest" in rows["f.bmp"]["metadata_note"]
    assert any("not signed" in text for text in summary.warnings)
    key = Path(places["key"]).read_text().splitlines()[1]
    written = [path.read_bytes() for path in Path(config.sink.uri).rglob("*") if path.is_file()]
    assert not any(key.encode() in data or places["key"].encode() in data for data in written)


def test_signed_results_pass_verification_and_a_second_run_redoes_none(here, config, tmp_path):
    config = replace(config, sink=replace(config.sink, c2pa=write_credentials(tmp_path / "credentials")))
    run_here(config, "first")
    before = {name: row["output_sha256"] for name, row in rows_of(config).items()}
    renewed = replace(config, sink=replace(config.sink, c2pa=write_credentials(tmp_path / "renewed")))
    assert run_here(renewed, "second").samples["done_now"] == 0
    assert verify.main([config.sink.uri, "--hash"]) == 0
    assert {name: row["output_sha256"] for name, row in rows_of(config).items()} == before
    run_here(replace(config, run=RunConfig(select="sample_id = 'a.jpg'")), "third")
    after = {name: row["output_sha256"] for name, row in rows_of(config).items()}
    assert {name for name in after if after[name] != before[name]} == {"a.jpg"}  # a signature is never the same twice
    assert verify.main([config.sink.uri, "--hash"]) == 0


def test_certificate_that_expires_during_a_job_fails_no_sample_for_good(here, config, tmp_path, monkeypatch):
    config = replace(config, sink=replace(config.sink, c2pa=write_credentials(tmp_path / "credentials")))
    limits = replace(config.limits, stall_s=2.0)

    def expire(*_):
        raise SigningError("the certificate has expired")

    with pytest.raises(JobError, match="the certificate has expired"):
        run_here(
            replace(config, limits=limits),
            executor=BeforeWork(lambda: monkeypatch.setattr(ResultSigner, "sign", expire)),
        )
    assert all(row["status"] != "failed" for row in rows_of(config).values())


def test_key_that_cannot_sign_stops_the_job_before_any_worker_starts(here, config, tmp_path):
    places = write_credentials(tmp_path / "credentials", days=(-30, -1))
    with pytest.raises(ConfigError, match=r"sink\.c2pa\.certificates: certificate 1 is valid from"):
        run_here(replace(config, sink=replace(config.sink, c2pa=places)))
    assert not Path(config.sink.uri, "manifest").exists()
