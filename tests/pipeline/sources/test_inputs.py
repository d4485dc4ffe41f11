import pytest

from pipeline.errors import SampleError
from pipeline.sources.inputs import read_file
from pipeline.sources.tar.reader import GAP_BYTES, REQUEST_BYTES, stretches
from pipeline.storage.errors import CredentialsError
from pipeline.storage.storage import Storage
from tests.conftest import planned_sample


@pytest.mark.parametrize(
    ("key", "version", "kind"),
    [
        ("none.png", None, "FileNotFound"),
        ("there.png", "another", "FileChanged"),
        ("../there.png", None, "UnusableName"),
        ("caf\\xe9.png", None, "UnusableName"),
    ],
)
def test_what_goes_wrong_for_good_is_the_fault_of_the_sample(tmp_path, key, version, kind):
    (tmp_path / "there.png").write_bytes(b"x")
    with pytest.raises(SampleError) as caught:
        read_file("read", Storage(str(tmp_path)), key, version)
    assert (caught.value.stage, caught.value.kind) == ("read", kind)
    assert len(caught.value.message) > 20


def test_object_that_may_not_be_read_is_the_fault_of_the_sample_and_refused_credentials_are_not(
    s3_server, tmp_path, monkeypatch
):
    storage = Storage(f"s3://bucket/{tmp_path.name}", s3_server)
    storage.write("a", b"x")
    stranger = Storage(str(storage), {**s3_server, "key": "nobody", "secret": "nothing"})
    with pytest.raises(CredentialsError, match="InvalidAccessKeyId"):
        read_file("mask", stranger, "a", None)

    def forbid(*_):
        raise PermissionError("Forbidden")

    monkeypatch.setattr(Storage, "read", forbid)
    with pytest.raises(SampleError, match="no permission to read") as caught:
        read_file("mask", storage, "a", None)
    assert (caught.value.stage, caught.value.kind) == ("mask", "PermissionDenied")


def sample(start: int, size: int, file: str = "a.tar") -> dict:
    return planned_sample(f"{file}/{start}", file=file, locator=[start, size, start, 0])


def test_samples_that_lie_together_are_read_with_one_request():
    near = [sample(0, 100), sample(600, 100), sample(700 + GAP_BYTES, 50)]
    assert list(stretches(near)) == [near]
    apart = [*near, sample(0, 100), sample(100 + GAP_BYTES + 1, 9), sample(100 + GAP_BYTES + 10, 9, "b.tar")]
    assert [len(stretch) for stretch in stretches(apart)] == [3, 1, 1, 1]
    large = [sample(0, REQUEST_BYTES), sample(REQUEST_BYTES, 1), sample(REQUEST_BYTES + 1, 1)]
    assert [len(stretch) for stretch in stretches(large)] == [1, 2]
