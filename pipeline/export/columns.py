"""The columns of exported rows."""

from collections.abc import Iterable, Sequence

import pyarrow as pa

from pipeline.export.registry import BYTES, REFERENCES
from pipeline.records import MANIFEST_SCHEMA

IMAGE = "image"
ROW_VERSION = "row_version"  # hash of the row: what differs is written again
_LAYOUT = "1"  # part of each hash; another number has every row written again
_MANIFEST = (
    "sample_id",
    "status",
    "width",
    "height",
    "orientation",
    "mask_kind",
    "mask_fraction",
    "mask_objects",
    "mask_score",
    "seam_score",
    "suspicious",
    "residual",
    "tries",
    "blocks_changed",
    "output_format",
    "output_bytes",
    "output_sha256",
    "weights_fingerprint",
    "config_fingerprint",
    "run_id",
    "started_at",
)
_REFERENCE = ("output_uri", "output_member")
_UNCARRIED = {*MANIFEST_SCHEMA.names, IMAGE, ROW_VERSION}


def manifest_columns(images: str) -> list[str]:
    """Return the columns of the manifest that are exported.

    Args:
        images: one of ``registry.IMAGES``.
    """
    return [*_MANIFEST, *(_REFERENCE if images == REFERENCES else ())]


def row_schema(images: str, carried: Iterable[pa.Field] = ()) -> pa.Schema:
    """Return the schema of exported rows.

    Args:
        images: one of ``registry.IMAGES``.
        carried: columns that the sink carries.
    """
    own = [MANIFEST_SCHEMA.field(name) for name in manifest_columns(images)]
    image = [pa.field(IMAGE, pa.binary())] if images == BYTES else []
    return pa.schema([*own[:1], *image, *own[1:], *carried, (ROW_VERSION, pa.string())])


def carried_fields(schema: pa.Schema) -> list[pa.Field]:
    """Return the carried columns of a schema of exported rows."""
    return [field for field in schema if field.name not in _UNCARRIED]


def clashing_names(names: Iterable[str]) -> Sequence[str]:
    """Return the names of carried columns that exported rows use for something else."""
    return sorted({*names} & _UNCARRIED)


def row_version_sql(images: str, with_carried: bool) -> str:
    """Return the SQL expression of a row's version, over columns of the manifest.

    Args:
        images: one of ``registry.IMAGES``.
        with_carried: whether the row has carried columns, too; with and without them it is another version.
    """
    names = [f"epoch_us({name})" if name == "started_at" else name for name in manifest_columns(images)]
    texts = ", ".join(f"coalesce({name}::VARCHAR, chr(30))" for name in names)
    layout = _LAYOUT if with_carried else f"{_LAYOUT} without carried columns"
    return f"md5(concat_ws(chr(31), '{layout}', {texts}))"
