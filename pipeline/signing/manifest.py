"""The C2PA manifest of a result: what was done, by which software, and to which photo.

Source: C2PA specification 2.2, sections 18.15 (actions) and 18.16 (ingredients).
"""

import hashlib
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from pipeline.codecs.metadata.provenance import Provenance
from pipeline.version import VERSION

SOURCE = "source"  # by which actions refer to the ingredient


def manifest_of(
    data: bytes, media_types: tuple[str, str], provenance: Provenance, redactions: Sequence[str]
) -> dict[str, Any]:
    """Return the definition of a manifest; it names no file, no person and no machine, and has no time.

    Args:
        data: the result.
        media_types: of the photo and of the result.
        provenance: what was done.
        redactions: uris of assertions of the photo's own manifests that are removed.
    """
    before, after = media_types
    actions: list[dict[str, Any]] = [
        {"action": "c2pa.opened", "parameters": {"ingredientIds": [SOURCE]}},
        {"action": "c2pa.edited", "description": provenance.sentence, "digitalSourceType": provenance.uri},
    ]
    actions += [{"action": "c2pa.converted"}] if before != after else []
    actions += [
        {"action": "c2pa.redacted", "reason": "c2pa.PII.present", "parameters": {"redacted": uri}} for uri in redactions
    ]
    return {
        "claim_generator_info": [{"name": "moebius-pipeline", "version": VERSION}],
        "format": after,
        "instance_id": instance_id(data),
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": actions}}],
        **({"redactions": list(redactions)} if redactions else {}),
    }


def ingredient_of(source: bytes, media_type: str) -> dict[str, Any]:
    """Return the definition of the photo as an ingredient."""
    return {
        "title": "the photo before",
        "format": media_type,
        "relationship": "parentOf",
        "label": SOURCE,
        "instance_id": instance_id(source),
    }


def instance_id(data: bytes) -> str:
    """Return the id of a file's content: equal for equal bytes."""
    return f"xmp.iid:{UUID(bytes=hashlib.sha256(data).digest()[:16], version=4)}"
