"""``input_version``: the listed versions of a sample's file and mask.

``VERSION [" of " COUNT] [" mask:" MASK_VERSION]``: the version of the file (etag, or size and time of change), of a
shard also the number of its samples, and the version of a mask in a file of its own, or the hash of its annotations.
"""

COUNT_PATTERN = r"' of (\d+)$'"  # SQL text: the count in the version of a sample without a mask file
_MASK = " mask:"


def with_count(version: str, count: int) -> str:
    """Return the version of each sample of a shard that has ``count`` of them."""
    return f"{version} of {count}"


def with_mask_sql(version: str, mask_version: str) -> str:
    """Return SQL that adds the version of a mask, unless that is null."""
    return f"{version} || coalesce('{_MASK}' || {mask_version}, '')"


def file_version_of(input_version: str) -> str:
    """Return the version of the file that holds the sample."""
    return input_version.partition(_MASK)[0].partition(" of ")[0]


def mask_version_of(input_version: str) -> str:
    """Return the version of the mask; empty where it has no file of its own."""
    return input_version.partition(_MASK)[2]
