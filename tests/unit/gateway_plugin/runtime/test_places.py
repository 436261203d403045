"""What users write, and where it leads."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway_plugin.runtime.bucket_place import tos_endpoint
from gateway_plugin.runtime.http_place import listed_sums, redirected, version_of
from gateway_plugin.runtime.places import artifact_named, bucket_access, directory_name, local_directory
from gateway_plugin.runtime.remote_files import DownloadError, RemoteFile, safe_name, wanted_files
from gateway_plugin.runtime.runtime_settings import RuntimeSettings, RuntimeSettingsError, settings_from


@pytest.mark.parametrize(
    ("uri", "source", "name"),
    [
        ("org/Model-7B", "huggingface", "Model-7B"),
        ("hf://org/Model-7B@v1", "huggingface", "Model-7B"),
        ("huggingface://org/name?revision=main", "huggingface", "name"),
        ("s3://bucket/models/one/", "s3", "one"),
        ("gs://bucket/one", "gcs", "one"),
        ("tos://bucket/a/b", "tos", "b"),
        ("https://host/dir/model.bin#sha256=00", "http", "model.bin"),
        ("/mnt/pvc/one", "path", "one"),
    ],
)
def test_uris(uri: str, source: str, name: str):
    artifact = artifact_named(uri)
    assert artifact.source == source
    assert directory_name(artifact) == name


@pytest.mark.parametrize("uri", ["", "ftp://host/x", "name", "s3:///no-bucket", "/a/../b", "https://user:pass@host/x"])
def test_what_leads_nowhere(uri: str):
    with pytest.raises(DownloadError):
        artifact_named(uri)


def test_a_path_is_not_copied(tmp_path: Path):
    assert local_directory(artifact_named(str(tmp_path))) == tmp_path
    with pytest.raises(DownloadError, match="no directory"):
        local_directory(artifact_named(f"{tmp_path}/none"))


@pytest.mark.parametrize("name", ["", "/etc/passwd", "../x", "a/../b", "a//b", "a\\b", ".", "x\0"])
def test_names_that_leave_the_directory(name: str):
    with pytest.raises(DownloadError):
        safe_name(name)


def test_suffixes():
    files = [RemoteFile(name, 1) for name in ("a.safetensors", "a.bin", "config.json")]
    assert [one.name for one in wanted_files(files, '["json", ".safetensors"]')] == ["a.safetensors", "config.json"]
    assert len(wanted_files(files, "")) == 3
    with pytest.raises(DownloadError, match=r"end with \.gguf"):
        wanted_files(files, ".gguf")


def test_redirects():
    assert redirected("https://a/b/c", "../d") == "https://a/d"
    assert redirected("http://a/b", "https://other/x") == "https://other/x"
    for bad in ("http://a/x", "file:///etc/passwd", ""):
        with pytest.raises(DownloadError):
            redirected("https://a/b", bad)


def test_versions_and_lists():
    assert version_of({"etag": '"x"'}) == '"x"'
    assert version_of({"etag": 'W/"x"', "last-modified": "Fri"}) == "Fri"
    assert version_of({}) == ""
    assert listed_sums(f"{'A' * 64}  ./a b\n{'1' * 64} *c/d\nnonsense\n") == {"a b": "a" * 64, "c/d": "1" * 64}


def test_tos_speaks_s3_under_another_name():
    assert tos_endpoint("tos-cn-beijing.volces.com", "") == "https://tos-s3-cn-beijing.volces.com"
    assert tos_endpoint("https://tos-s3-cn-beijing.volces.com", "") == "https://tos-s3-cn-beijing.volces.com"
    assert tos_endpoint("", "cn-shanghai") == "https://tos-s3-cn-shanghai.volces.com"
    assert tos_endpoint("http://127.0.0.1:9000", "") == "http://127.0.0.1:9000"


def test_what_is_sent_goes_before_the_environment():
    settings = RuntimeSettings(aws_access_key_id="env", aws_region="eu-1", tos_access_key="tos")
    access = bucket_access("s3", settings, {"aws_access_key_id": "sent", "aws_secret_access_key": "s"})
    assert (access.access_key, access.secret_key, access.region) == ("sent", "s", "eu-1")
    assert bucket_access("tos", settings, {}).access_key == "tos"
    assert bucket_access("gcs", settings, {"gcp_service_account_json": "{}"}).account_json == "{}"


def test_the_environment():
    settings = settings_from({"INFERENCE_ENGINE": "sglang", "DOWNLOADER_NUM_THREADS": "4", "READY_ASKS_ENGINE": "0"})
    assert (settings.engine, settings.parallel_parts, settings.ready_asks_engine) == ("sglang", 4, False)
    assert settings_from({"HF_TOKEN": ""}) == RuntimeSettings()


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("DOWNLOADER_NUM_THREADS", "0", "at least 1"),
        ("DOWNLOADER_PART_CHUNKSIZE", "64M", "an int is wanted"),
        ("METRICS_RAW_PASSTHROUGH_MODE", "maybe", "1 or 0"),
        ("INFERENCE_ENGINE_ENDPOINT", "localhost:8000", "http://"),
    ],
)
def test_a_wrong_variable_is_named(name: str, value: str, words: str):
    with pytest.raises(RuntimeSettingsError) as error:
        settings_from({name: value})
    assert name in str(error.value)
    assert value in str(error.value)
    assert words in str(error.value)


def test_the_page_of_variables_is_complete():
    page = (Path(__file__).parents[4] / "docs" / "runtime.md").read_text()
    for name in RuntimeSettings().variables():
        assert f"`{name}`" in page
