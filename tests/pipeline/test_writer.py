import pyarrow as pa
import pytest

from pipeline.config import JobConfig, SinkConfig
from pipeline.gpu_actor import DATA_FIELD
from pipeline.records import FAILED, MANIFEST_SCHEMA, OK
from pipeline.writer import write_results


def test_result_that_cannot_be_stored_is_given_back_and_in_the_last_pass_a_failed_row(tmp_path):
    config = JobConfig(sink=SinkConfig(uri=str(tmp_path)))
    names = ["a.png", "n" * 300 + ".png"]  # no file system takes the second
    rows = [{"sample_id": name, "status": OK, "output_bytes": 1, "data": b"x"} for name in names]
    batch = pa.Table.from_pylist(rows, MANIFEST_SCHEMA.append(DATA_FIELD))
    with pytest.raises(OSError, match="too long"):
        write_results(batch, config, "run", give_back=True)
    good, bad = write_results(batch, config, "run", give_back=False).to_pylist()
    assert (good["status"], good["output_uri"]) == (OK, str(tmp_path / "data" / "a.png"))
    assert (bad["status"], bad["error_stage"], bad["error_type"]) == (FAILED, "write", "OSError")
    assert bad["output_uri"] is None and bad["output_bytes"] is None
