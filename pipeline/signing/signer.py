"""Signs results, each with the photo that it was made of as an ingredient."""

import io
import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.codecs.metadata.provenance import INPAINTED, Provenance
from pipeline.codecs.metadata_formats.embedded_jpegs import without_jpegs
from pipeline.codecs.png.chunks import encode_png
from pipeline.containers import CONTAINERS
from pipeline.errors import ConfigError
from pipeline.signing.credentials import Credentials, read_credentials
from pipeline.signing.manifest import ingredient_of, manifest_of

if TYPE_CHECKING:
    import c2pa

_SIGNED = ("JPEG", "PNG", "WEBP", "TIFF")  # of the formats that are written
_MEDIA_TYPES = {container.name: next(iter(container.media_types.values())) for container in CONTAINERS}
_PICTURES = (b"\x89PNG\r\n\x1a\n", b"WEBPVP8")
_THUMBNAIL = "c2pa.thumbnail"
_SOUND = ("Valid", "Trusted")
# Nothing is fetched from a network, and no thumbnail is made: of the photo it would show what was removed.
_SETTINGS = {
    "builder": {"thumbnail": {"enabled": False}},
    "verify": {"verify_trust": False, "remote_manifest_fetch": False, "ocsp_fetch": False},
}
LOST_MANIFEST = "the photo's own C2PA manifests are left out: they cannot be kept without pictures of the photo"


class SigningError(RuntimeError):
    """A result cannot be signed; never the fault of its photo."""


def open_signer(places: Mapping[str, str]) -> "ResultSigner | None":
    """Create the signer of a job, and try it; ``None`` where results are not signed.

    Args:
        places: ``sink.c2pa``.

    Raises:
        ConfigError: certificates and key cannot sign.
    """
    if not places:
        return None
    signer = ResultSigner(read_credentials(places))
    signer.check()
    return signer


class ResultSigner:
    """Signs files of results.

    Args:
        credentials: to sign with.
    """

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    def check(self) -> None:
        """Sign a small picture and read the signature.

        Raises:
            ConfigError: the certificate is not one for C2PA, such as one without its extended key usage.
        """
        picture = encode_png(np.zeros((8, 8), np.uint8), [])
        try:
            signed, _ = self.sign(picture, "PNG", b"", "PNG", INPAINTED)
            state, failures = read_state(signed, "PNG")
        except SigningError as error:
            raise ConfigError(f"sink.c2pa cannot sign: {error}") from None
        if state not in _SOUND:
            raise ConfigError(f"sink.c2pa makes signatures that are not valid: {', '.join(failures)}")

    def sign(
        self, data: bytes, container: str, source: bytes, source_container: str, provenance: Provenance
    ) -> tuple[bytes, str | None]:
        """Sign a result.

        Args:
            data: the result.
            container: its format, by Pillow's name.
            source: the photo, whose own manifests are kept; empty where nothing of it may be.
            source_container: its format.
            provenance: what was done to it.

        Returns:
            The signed file, and what could not be done; ``None`` for nothing.

        Raises:
            SigningError: for instance, the certificate has expired meanwhile.
        """
        if container not in _SIGNED:
            return data, f"not signed: {container} has no room for a C2PA manifest"
        media_types = _MEDIA_TYPES[source_container], _MEDIA_TYPES[container]
        ingredient = ingredient_of(source or data, media_types[0])
        with_manifests = bool(source) and has_manifest(source, media_types[0])
        if with_manifests:
            try:
                redactions = list(_thumbnails(source, media_types[0]))
                manifest = manifest_of(data, media_types, provenance, redactions)
                signed, store = self._signed(data, media_types, manifest, (ingredient, source))
                if not _holds_pictures(store):
                    return signed, None
            except SigningError:  # the photo's manifests may be damaged
                pass
        manifest = manifest_of(data, media_types, provenance, []) | {"ingredients": [ingredient]}
        signed, _ = self._signed(data, media_types, manifest)
        return signed, LOST_MANIFEST if with_manifests else None

    def _signed(
        self,
        data: bytes,
        media_types: tuple[str, str],
        manifest: dict[str, Any],
        source: tuple[dict[str, Any], bytes] | None = None,
    ) -> tuple[bytes, bytes]:
        """Return the signed file and its manifest store; ``source`` is a photo with manifests, as an ingredient."""
        import c2pa

        kept, signed = self._credentials, io.BytesIO()
        info = c2pa.C2paSignerInfo(kept.algorithm.encode(), kept.certificates, kept.key, None)
        try:
            with c2pa.Builder(manifest, _context()) as builder, c2pa.Signer.from_info(info) as signer:
                if source:
                    builder.add_ingredient(source[0], media_types[0], io.BytesIO(source[1]))
                store = builder.sign(signer, media_types[1], io.BytesIO(data), signed)
        except c2pa.C2paError as error:
            raise SigningError(str(error)) from None
        return signed.getvalue(), store


def read_state(data: bytes, container: str) -> tuple[str, list[str]]:
    """Return the state of a signature, such as ``Valid``, and the codes of what is wrong.

    Raises:
        SigningError: there is no manifest.
    """
    import c2pa

    try:
        with c2pa.Reader(_MEDIA_TYPES[container], io.BytesIO(data), context=_context()) as reader:
            said: dict[str, Any] = json.loads(reader.json())
    except c2pa.C2paError as error:
        raise SigningError(str(error)) from None
    return said["validation_state"], [fault["code"] for fault in said.get("validation_status", [])]


def has_manifest(data: bytes, media_type: str) -> bool:
    """Return whether a file has C2PA manifests inside it, also damaged ones."""
    import c2pa

    try:
        reader = c2pa.Reader.try_create(media_type, io.BytesIO(data), context=_context())
    except c2pa.C2paError as error:
        return b"c2pa" in data and not isinstance(error, c2pa.C2paError.NotSupported)
    if reader is None:
        return False
    with reader:
        return bool(reader.is_embedded())


def _thumbnails(source: bytes, media_type: str) -> Iterator[str]:
    """Yield the uris of thumbnails in all manifests of a file; they would show what was removed."""
    import c2pa

    try:
        with c2pa.Reader(media_type, io.BytesIO(source), context=_context()) as reader:
            manifests = json.loads(reader.detailed_json())["manifests"]
    except c2pa.C2paError as error:
        raise SigningError(str(error)) from None
    for label, manifest in manifests.items():
        for assertion in manifest["assertion_store"]:
            if assertion.startswith(_THUMBNAIL):
                yield f"self#jumbf=/c2pa/{label}/c2pa.assertions/{assertion}"


def _holds_pictures(store: bytes) -> bool:
    return without_jpegs(store) != store or any(start in store for start in _PICTURES)


def _context() -> "c2pa.Context":
    import c2pa

    return c2pa.Context(c2pa.Settings.from_dict(_SETTINGS))
