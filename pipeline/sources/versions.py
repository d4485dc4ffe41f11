"""``input_version``: the listed versions of a sample's file and mask.

``VERSION [" of " COUNT] [" carried:" NAMES "-" VALUES] [" mask:" MASK_VERSION]``: the version of the file (etag, or
size and time of change), of a shard also the number of its samples, hashes of the columns that a list carries, and the
version of a mask in a file of its own, or the hash of its annotations, or that there is none and none is needed.
A list may state neither: the version of the file or of the mask is then empty, and never counts as another one.
"""

COUNT_PATTERN = r"' of (\d+)$'"  # SQL text: the count in the version of a sample without a mask file
UNCHECKED = "~"  # begins a version that only the list states: the storage would state another one for the same file
_MASK = " mask:"
_NO_MASK = "none"
_CARRIED = " carried:"

# SQL over ``input_version``: whether the version of the file, or of its mask, is not known.
IS_UNKNOWN = (
    f"(input_version = '' OR starts_with(input_version, '{_MASK}') OR starts_with(input_version, '{_CARRIED}') "
    f"OR ends_with(input_version, '{_MASK}'))"
)


def with_count(version: str, count: int) -> str:
    """Return the version of each sample of a shard that has ``count`` of them."""
    return f"{version} of {count}"


def carried_version(names: str, values: str) -> str:
    """Return the part of a version that tells what is carried.

    Args:
        names: hash of the names of the columns.
        values: hash of the values.
    """
    return f"{_CARRIED}{names}-{values}"


def with_mask_sql(version: str, mask_version: str) -> str:
    """Return SQL that adds the version of a mask, unless that is null."""
    return f"{version} || coalesce('{_MASK}' || {mask_version}, '')"


def without_mask_sql(version: str) -> str:
    """Return SQL of the version of a sample that has no mask and needs none."""
    return f"{version} || '{_MASK}{_NO_MASK}'"


def file_version_of(input_version: str) -> str:
    """Return the version of the file that holds the sample."""
    return input_version.partition(_MASK)[0].partition(_CARRIED)[0].partition(" of ")[0]


def before_mask_sql(input_version: str) -> str:
    """Return SQL of the part before the version of the mask."""
    return f"split_part({input_version}, '{_MASK}', 1)"


def file_version_sql(input_version: str) -> str:
    """Return SQL of the version of the file, and of a shard its number of samples."""
    return f"split_part({before_mask_sql(input_version)}, '{_CARRIED}', 1)"


def mask_version_of(input_version: str) -> str:
    """Return the version of the mask; empty where it has no file of its own."""
    return input_version.partition(_MASK)[2]


def checked(version: str) -> str:
    """Return a version that the storage can confirm; empty where it cannot."""
    return "" if version.startswith(UNCHECKED) else version


def is_changed_sql(row_version: str, version: str) -> str:
    """Return SQL that tells whether a version differs from that of a row, in the parts that are known.

    Other carried columns are another setting, not another version, so values are compared if the names are equal.
    """
    whole, row_whole = (f"split_part({text}, '{_MASK}', 1)" for text in (version, row_version))
    file, row_file = (f"split_part({text}, '{_CARRIED}', 1)" for text in (whole, row_whole))
    carried, row_carried = (f"split_part({text}, '{_CARRIED}', 2)" for text in (whole, row_whole))
    names, row_names = (f"split_part({text}, '-', 1)" for text in (carried, row_carried))
    mask, row_mask = (f"split_part({text}, '{_MASK}', 2)" for text in (version, row_version))
    has_mask, row_has_mask = (f"contains({text}, '{_MASK}')" for text in (version, row_version))
    return (
        f"CASE WHEN {row_version} = {version} THEN false WHEN {row_version} IS NULL THEN true "  # the usual ones first
        f"ELSE {has_mask} <> {row_has_mask} OR ({file} <> '' AND {file} <> {row_file}) "
        f"OR ({mask} <> '' AND {mask} <> {row_mask}) OR ({names} = {row_names} AND {carried} <> {row_carried}) END"
    )
