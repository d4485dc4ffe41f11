"""Certificates and keys that cannot sign are refused before any worker starts, and no message holds a key."""

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.config.job import JobConfig, SinkConfig
from pipeline.config.public import public_configuration
from pipeline.config.signing import checked_signing
from pipeline.errors import ConfigError
from pipeline.signing.credentials import read_credentials
from pipeline.signing.signer import open_signer
from tests.pipeline.signing.certificates import KEYS, pem_of, write_credentials


@pytest.fixture
def places(tmp_path) -> dict[str, str]:
    return write_credentials(tmp_path / "own")


def refusal(places: dict) -> str:
    with pytest.raises(ConfigError) as caught:
        open_signer(checked_signing(places))
    return str(caught.value)


def test_what_cannot_sign_is_refused_with_a_reason(places, tmp_path):
    other = write_credentials(tmp_path / "other")
    expired = write_credentials(tmp_path / "expired", days=(-30, -1))
    early = write_credentials(tmp_path / "early", days=(1, 30))
    for_servers = write_credentials(tmp_path / "servers", for_c2pa=False)
    locked = tmp_path / "locked.pem"
    locked.write_bytes(pem_of(KEYS["es256"](), b"password"))
    mixed = tmp_path / "mixed.pem"
    chains = [Path(each["certificates"]).read_bytes() for each in (places, other)]
    mixed.write_bytes(chains[0].split(b"-----END CERTIFICATE-----\n")[0] + b"-----END CERTIFICATE-----\n" + chains[1])
    assert refusal({"key": "a"}) == "sink.c2pa.certificates must be set to sign results"
    assert refusal({**places, "password": "x"}) == "sink.c2pa has the keys certificates and key, got 'password'"
    assert "cannot read" in refusal({**places, "key": f"{tmp_path}/none.pem"})
    assert refusal({**places, "key": other["key"]}).startswith("sink.c2pa.key does not belong to the first certificate")
    assert "certificate 1 is valid from" in refusal(expired) and "certificate 1 is valid from" in refusal(early)
    assert refusal(for_servers).startswith("sink.c2pa")
    assert (
        refusal({**places, "key": str(locked)}) == "sink.c2pa.key is encrypted; only keys without a password are read"
    )
    assert refusal({**places, "key": places["certificates"]}) == "sink.c2pa.key must be a private key in PEM"
    assert refusal({**places, "certificates": places["key"]}).startswith("sink.c2pa.certificates must be a PEM file")
    assert "certificate 1 is not issued by" in refusal({**places, "certificates": str(mixed)})
    assert "must name an environment variable" in refusal({**places, "key": "env:a b"})
    assert "NOT_SET_ANYWHERE is not set" in refusal({**places, "key": "env:NOT_SET_ANYWHERE"})


def test_key_may_come_from_the_environment_and_never_from_the_configuration(places, monkeypatch):
    pem = Path(places["key"]).read_text()
    monkeypatch.setenv("A_KEY", pem)
    assert read_credentials(checked_signing({**places, "key": "env:A_KEY"})).key == pem.encode()
    message = refusal({**places, "key": pem})
    assert message.startswith("sink.c2pa.key must be the path of a PEM file") and pem[40:60] not in message


def test_configuration_and_its_fingerprint_have_nothing_of_the_key(places, tmp_path):
    config = JobConfig(sink=SinkConfig(c2pa=places))
    assert public_configuration(config)["sink"]["c2pa"] == {"certificates": places["certificates"], "key": "***"}
    renewed = JobConfig(sink=SinkConfig(c2pa=write_credentials(tmp_path / "renewed")))
    assert config.fingerprint == renewed.fingerprint != JobConfig().fingerprint
    assert replace(config, sink=SinkConfig()).fingerprint == JobConfig().fingerprint
    assert repr(read_credentials(places)).count("BEGIN PRIVATE") == 0
