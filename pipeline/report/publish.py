"""Makes the report of a sink."""

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipeline.config.job import JobConfig
from pipeline.database import Database
from pipeline.errors import ConfigError
from pipeline.manifest.tombstones import read_forgotten
from pipeline.records import MANIFEST_SCHEMA
from pipeline.report import KEY
from pipeline.report.figures import load_rows, read_figures
from pipeline.report.gallery import choose_samples
from pipeline.report.page import render_page
from pipeline.report.pictures import MAX_PIXELS, draw_item
from pipeline.report.inspectors import NO_REVIEWS, columns_for_reviews, read_review_figures
from pipeline.report.row_files import RowFilesReader, reason
from pipeline.storage.errors import usable
from pipeline.storage.storage import Storage

if TYPE_CHECKING:  # it imports the model
    from pipeline.cluster.summary import Summary

SAMPLES = 36
MAX_READ_S = 60.0  # for reading pictures
ROWS_AT_END_OF_RUN = 5_000_000  # beyond which a run leaves its report to ``moebius report``

logger = logging.getLogger(__name__)

_UNUSED = ("outside_max_diff", "output_sha256", "seed", "weights_fingerprint", "config_fingerprint", "worker")
COLUMNS = [name for name in MANIFEST_SCHEMA.names if name not in _UNUSED]


@usable()
def make_report(sink: Storage, storage_options: Mapping[str, Any], samples: int = SAMPLES) -> bytes:
    """Make the HTML page of a sink, also while its job is running.

    Args:
        sink: of the job.
        storage_options: of the sink and of the source.
        samples: maximum number of samples with pictures.

    Raises:
        ConfigError: the sink has no rows, or samples were deleted from it meanwhile.
    """
    forgotten = read_forgotten(sink)
    with Database() as database:
        for_reviews = columns_for_reviews(sink)
        load_rows(sink, database, [*COLUMNS, *for_reviews])
        figures = read_figures(sink, database)
        reviews = read_review_figures(sink, database) if for_reviews else NO_REVIEWS
        rows = choose_samples(database, samples)
    reader = RowFilesReader(sink, storage_options, rows, MAX_READ_S, MAX_PIXELS)
    gallery = [draw_item(row, files) for row, files in zip(rows, sink.in_parallel(reader.read, rows), strict=True)]
    if read_forgotten(sink) != forgotten:  # since the rows were read; the page may show it
        raise ConfigError(f"samples were forgotten in {sink} while its report was written; run the command again")
    return render_page(str(sink), figures, gallery, reviews)


def report_run(config: JobConfig, summary: "Summary") -> None:
    """Write the report of a run at its end; errors are logged as warnings."""
    if not config.run.report or not summary.samples["done_now"]:
        return
    if summary.samples["found"] > ROWS_AT_END_OF_RUN:
        logger.info("too many samples for the report of a run; write it with: moebius report %s", config.sink.uri)
        return
    sink = Storage(config.sink.uri, config.storage)
    try:
        sink.write(KEY, make_report(sink, config.storage))
        logger.info("report: %s", sink.uri(KEY))
    except Exception as error:  # noqa: BLE001 - the run itself is done
        logger.warning("no report: %s", reason(error))
