"""Lists the images of the source and pairs them with their masks, in a table of the database."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa

from pipeline.config.job import JobConfig
from pipeline.containers import SOURCE_OR_PNG
from pipeline.database import Database
from pipeline.errors import ConfigError
from pipeline.masks.base import MaskKind, open_masks
from pipeline.planning.corrections import use_corrected_masks
from pipeline.planning.finished_shards import FinishedShards
from pipeline.planning.select_expression import check_selection
from pipeline.sinks.base import FOLDER
from pipeline.sources.base import EMPTY, EVERYTHING, IMAGES, sample_ref_batches
from pipeline.sources.left_out import LeftOut
from pipeline.sources.reader import open_source
from pipeline.sources.versions import without_mask_sql
from pipeline.storage.errors import usable
from pipeline.storage.storage import Storage


@usable()
def find_samples(
    config: JobConfig,
    database: Database,
    finished: FinishedShards | None = None,
    open_storage: Callable[[str, Mapping[str, Any]], Storage] = Storage,
) -> dict[str, int]:
    """List the source, pair every image with its mask, and create the table ``samples`` of ``SAMPLE_SCHEMA``.

    A corrected mask in a review of the sink takes the place of the sample's own.
    The table ``miss`` has one row: an example of a sample without a mask, null if there is none.

    Args:
        config: the job.
        database: gets the table.
        finished: shards that need not be opened.
        open_storage: opens the storage of images and that of masks.

    Returns:
        Number of files of the source, and of masks, that were left out, by kind.

    Raises:
        ConfigError: nothing at ``source.uri`` or ``mask.uri``, no image that matches, or a faulty ``run.select``.
    """
    check_selection(config.run.select)
    rules, source = config.source.rules, open_storage(config.source.root_uri, config.storage)
    masks = open_masks(config.mask, open_storage(config.mask.rules.root_uri, config.storage), source)
    sink = Storage(config.sink.uri, config.storage)
    mask_files = {"mask.uri": masks.storage} if masks.place.is_outside else {}
    _refuse_results_among_inputs(sink, {"source.root" if rules.is_list else "source.uri": source, **mask_files})
    # Results and masks are no inputs, even if their folders are inside the source.
    top, others = (
        f"{_location(source)}/",
        [_location(sink), *(_location(storage) for storage in mask_files.values() if masks.are_images)],
    )
    inside = tuple(f"{other.removeprefix(top)}/" for other in others if other.startswith(top))
    left_out = LeftOut(inside, _leads_to(source, [other for other in others if not top.startswith(f"{other}/")]))
    finder = open_source(config, source)
    files = finder.files(left_out)
    images = sample_ref_batches(finder, finished.without(files) if finished else files)
    database.create("images", IMAGES, _with_names(images, masks))
    # Files have one path each on a disk, and in a bucket unless the name of one is not as a disk would have it.
    if rules.is_sharded or rules.is_list or (not source.is_local and database.run(_UNTIDY)):
        _rename_repeated(database)
    if config.sink.image_format == SOURCE_OR_PNG and not rules.is_sharded and not config.sink.is_sharded:
        database.run(_REFUSE_TAKEN)
    (masks.pair_listed if rules.is_list else masks.pair)(database)
    if config.mask.missing == "empty":
        database.run(_WITHOUT_MASK)
    miss = masks.find_miss(database)
    database.run("CREATE OR REPLACE TABLE miss AS SELECT $miss::VARCHAR AS example", {"miss": miss})
    if finished:
        finished.add_samples()
    use_corrected_masks(sink, database)
    is_part = finished is not None and finished.slice is not None  # the other files were not opened
    if not is_part and not database.run("SELECT 1 FROM samples LIMIT 1"):
        there = left_out.there()
        pattern = config.source.pattern
        if rules.is_list:
            of_list = f"no row of {config.source.uri} names an image that matches"
            raise ConfigError(f"{of_list} source.pattern={pattern!r}{there}")
        raise ConfigError(f"no image below {source} matches source.pattern={pattern!r}{there}")
    found = {**left_out.by_kind(), **masks.left_out}
    if config.source.pattern == EVERYTHING and not rules.is_list and not is_part:
        is_apart = not any(_holds(masks.storage, other) for other in (source, sink))
        found |= masks.count_spare(database) if is_apart else {}
    database.drop("images", "masks", "specs", "repeated")  # whatever is in them is in ``samples``
    return found


def _holds(outer: Storage, inner: Storage) -> bool:
    return f"{_location(inner)}/".startswith(f"{_location(outer)}/")


def _refuse_results_among_inputs(sink: Storage, inputs: Mapping[str, Storage]) -> None:
    """Refuse a sink whose results would become inputs or replace them."""
    results = f"{_location(sink, FOLDER)}/"
    for key, storage in inputs.items():
        location = _location(storage)
        if location == _location(sink):
            raise ConfigError(f"sink.uri must be another than {key}, {storage}: results would become inputs")
        if f"{location}/".startswith(results):
            raise ConfigError(f"{key} must not lie in {FOLDER}/ of sink.uri, {sink}: results would replace inputs")


def _location(storage: Storage, folder: str = "") -> str:
    """Path or uri of a storage or a folder of it, with links resolved."""
    return os.path.realpath(storage.path(folder)) if storage.is_local else storage.uri(folder)


def _leads_to(storage: Storage, locations: Iterable[str]) -> Callable[[str], bool]:
    """Return a test whether a folder of a local storage links to one of the locations, or into one."""
    if not storage.is_local:
        return lambda folder: False
    inside = tuple(f"{location}/" for location in locations)
    return lambda folder: f"{os.path.realpath(os.path.join(storage.root, folder))}/".startswith(inside)


def _with_names(images: Iterable[pa.RecordBatch], masks: MaskKind) -> Iterator[pa.RecordBatch]:
    """Add the name of each image's mask, if masks have names of their own."""
    for batch in images:
        columns = dict(zip(batch.schema.names, batch.columns, strict=True))
        if masks.name_of is not None:
            columns["wanted"] = pa.array(map(masks.name_of, batch["sample_id"].to_pylist()), pa.string())
        rows = [columns.get(field.name, pa.nulls(len(batch), field.type)) for field in IMAGES]
        yield pa.record_batch(rows, schema=IMAGES)


def _rename_repeated(database: Database) -> None:
    """Rename samples whose results would share a name: the first keeps it, the others fail under a free name."""
    database.run(_REPEATED)
    if not database.run("SELECT 1 FROM repeated LIMIT 1"):
        return
    mark = "#"
    while database.run(_TAKEN, {"mark": mark}):
        mark += "#"
    database.run(_RENAME, {"mark": mark})


# So that a mask that comes later, or is asked for later, makes the sample a changed one.
_WITHOUT_MASK = f"""
UPDATE samples SET input_version = {without_mask_sql("input_version")} WHERE mask_key IS NULL AND fault IS NULL"""

_IS_UNTIDY = "(contains(sample_id, './') OR contains(sample_id, '//') OR starts_with(sample_id, '/'))"
_UNTIDY = f"SELECT 1 FROM images WHERE {_IS_UNTIDY} LIMIT 1"

# Equals :func:`pipeline.sources.base.result_name`; three slashes in a row take two rounds.
_UNDOTTED = r"regexp_replace(sample_id, '(^|/)(\./)+', '\1', 'g')"
_NAMED = f"concat(if(starts_with({_UNDOTTED}, '/'), '{EMPTY}', ''), {_UNDOTTED})"
_RESULT_NAME = f"""
CASE WHEN {_IS_UNTIDY} THEN replace(replace({_NAMED}, '//', '/{EMPTY}/'), '//', '/{EMPTY}/') ELSE sample_id END"""

# Samples whose result name was used by an earlier sample, and how often. Hashes first, which take less memory.
_REPEATED = f"""
CREATE TABLE repeated AS
WITH repeated_hashes AS (
    SELECT hash({_RESULT_NAME}) AS name_hash FROM images GROUP BY name_hash HAVING count(*) > 1
), named AS (
    SELECT rowid AS id, * EXCLUDE (mask_spec, carried), {_RESULT_NAME} AS result_name FROM images
    WHERE hash({_RESULT_NAME}) IN (FROM repeated_hashes)
)
SELECT
    id,
    result_name,
    row_number() OVER (PARTITION BY result_name ORDER BY file, locator, sample_id, version, wanted) AS number
FROM named
QUALIFY number > 1"""

_TAKEN = f"SELECT 1 FROM repeated JOIN images ON {_RESULT_NAME} = result_name || $mark || number LIMIT 1"

_RENAME = """
UPDATE images SET
    sample_id = images.sample_id || $mark || repeated.number,
    fault = concat(
        'DuplicateKey: ', coalesce(images.file, 'the source'), ' holds another sample of the name ', images.sample_id
    )
FROM repeated
WHERE images.rowid = repeated.id"""

# Both, since either may be done already and keep its row.
_REFUSE_TAKEN = """
UPDATE images SET fault = concat(
    'DuplicateKey: ', taken.name, ' and ', taken.name, '.png are samples whose results may both be called ',
    taken.name, '.png; rename one, or set another sink.image_format'
)
FROM (
    SELECT one.sample_id AS name FROM images one JOIN images other ON other.sample_id = one.sample_id || '.png'
) taken
WHERE images.sample_id IN (taken.name, taken.name || '.png') AND images.fault IS NULL"""
