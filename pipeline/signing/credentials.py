"""Reads and checks the certificates and the private key that results are signed with."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.config.signing import CERTIFICATES, KEY, VARIABLE
from pipeline.errors import ConfigError
from pipeline.extras import check_extra

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

_CURVES = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}


@dataclass(frozen=True)
class Credentials:
    """Certificates and key that results are signed with.

    Args:
        algorithm: of the signature, by its name in C2PA.
        certificates: PEM, the signer's first.
        key: PEM.
    """

    algorithm: str
    certificates: bytes
    key: bytes = field(repr=False)


def read_credentials(places: Mapping[str, str]) -> Credentials:
    """Read certificates and key, and check that they belong together; no message holds anything of the key.

    Args:
        places: ``sink.c2pa``, not empty.

    Raises:
        ConfigError: the extra is missing, a file cannot be read, or they cannot sign.
    """
    check_extra("c2pa", "sink.c2pa")
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    chain, pem = _read(places[CERTIFICATES], CERTIFICATES), _read_key(places[KEY])
    try:
        certificates = x509.load_pem_x509_certificates(chain)
    except ValueError:
        raise ConfigError("sink.c2pa.certificates must be a PEM file of certificates, the signer's first") from None
    try:
        key = load_pem_private_key(pem, password=None)
    except TypeError:
        raise ConfigError("sink.c2pa.key is encrypted; only keys without a password are read") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigError("sink.c2pa.key must be a private key in PEM") from None
    if key.public_key() != certificates[0].public_key():
        raise ConfigError("sink.c2pa.key does not belong to the first certificate of sink.c2pa.certificates")
    _check_chain(certificates)
    return Credentials(_algorithm(certificates[0]), chain, pem)


def _read_key(place: str) -> bytes:
    if not place.startswith(VARIABLE):
        return _read(place, KEY)
    name = place.removeprefix(VARIABLE)
    if not (text := os.environ.get(name)):
        raise ConfigError(f"sink.c2pa.key: the environment variable {name} is not set; workers need it, too")
    return text.encode()


def _read(path: str, name: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"sink.c2pa.{name}: cannot read {path}: {error.strerror}; workers need it, too") from None


def _check_chain(certificates: list["Certificate"]) -> None:
    now = datetime.now(UTC)
    for number, certificate in enumerate(certificates, start=1):
        if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
            first, last = certificate.not_valid_before_utc, certificate.not_valid_after_utc
            told = f"certificate {number} is valid from {first:%Y-%m-%d} to {last:%Y-%m-%d}, not now"
            raise ConfigError(f"sink.c2pa.certificates: {told}")
    for number, (certificate, issuer) in enumerate(pairwise(certificates), start=1):
        try:
            certificate.verify_directly_issued_by(issuer)
        except Exception:  # noqa: BLE001 - one of several kinds, which all mean this
            raise ConfigError(
                f"sink.c2pa.certificates: certificate {number} is not issued by the one that follows it"
            ) from None


def _algorithm(certificate: "Certificate") -> str:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    key = certificate.public_key()
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _CURVES:
        return _CURVES[key.curve.name]
    if isinstance(key, ed25519.Ed25519PublicKey):
        return "ed25519"
    if isinstance(key, rsa.RSAPublicKey):
        return "ps256"
    raise ConfigError("sink.c2pa.certificates must have an elliptic curve (P-256, P-384, P-521), Ed25519 or RSA key")
