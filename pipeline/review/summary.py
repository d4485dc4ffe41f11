"""Describes the rates that reviews show, in words."""

from pipeline.database import Database
from pipeline.manifest.log import Manifest
from pipeline.report.inspectors import describe_round
from pipeline.storage.errors import usable
from pipeline.storage.storage import Storage
from pipeline.verdicts.current import RESULT_HASH
from pipeline.verdicts.rates import read_rounds


@usable()
def describe_rounds(sink: Storage) -> list[str]:
    """Return a line for each of the newest rounds of reviews, the newest first."""
    with Database() as database:
        Manifest(sink).load_into(database, ["sample_id", RESULT_HASH])
        return [describe_round(found) for found in read_rounds(sink, database)]
