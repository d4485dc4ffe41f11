import pytest

from pipeline.config.job import JobConfig, MaskConfig, SourceConfig
from pipeline.sources.reader import Reader, open_source
from pipeline.sources.registry import SOURCE_FORMATS
from pipeline.storage.storage import Storage


@pytest.mark.parametrize("name", SOURCE_FORMATS)
def test_every_registered_format_opens_a_finder_and_a_reader(tmp_path, name):
    config = JobConfig(SourceConfig(name, str(tmp_path)), MaskConfig("alpha"))
    source = open_source(config, Storage(str(tmp_path)))
    assert list(source.samples([])) == []
    assert list(Reader(config).read_all([])) == []
