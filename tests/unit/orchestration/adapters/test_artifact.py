"""Artifact URLs: what they name, and what an engine can read by itself."""

from __future__ import annotations

import pytest

from orchestration.adapters.artifact import artifact_of


@pytest.mark.parametrize(
    ("url", "source", "location", "revision", "engine_path"),
    [
        ("huggingface://yard1/sql-lora", "huggingface", "yard1/sql-lora", None, "yard1/sql-lora"),
        ("hf://a/b@v2", "huggingface", "a/b", "v2", None),
        ("hf://a/b?revision=main", "huggingface", "a/b", "main", None),
        ("s3://bucket/path?revision=3", "s3", "s3://bucket/path", "3", None),
        ("gs://bucket/x", "gcs", "gs://bucket/x", None, None),
        ("https://host/adapter.tar", "http", "https://host/adapter.tar", None, None),
        ("/models/lora/", "path", "/models/lora", None, "/models/lora"),
    ],
)  # fmt: skip
def test_what_users_write(url: str, source: str, location: str, revision: str | None, engine_path: str | None):
    artifact = artifact_of(url)
    assert (artifact.source, artifact.location, artifact.revision) == (source, location, revision)
    assert artifact.engine_path == engine_path


def test_versions_are_told_apart_and_spellings_are_not():
    assert artifact_of("hf://a/b").identity == artifact_of("huggingface://a/b").identity
    assert len({artifact_of(f"hf://a/b{tail}").identity for tail in ("", "@1", "@2")}) == 3


@pytest.mark.parametrize(
    "url",
    [
        "",
        "a/b",
        "ftp://a/b",
        "hf://",
        "hf://a",
        "hf://a/../b",
        "/a/../b",
        "s3://",
        "https://me:secret@host/x",
        "hf://a/b c",
    ],
)
def test_what_is_no_artifact(url: str):
    with pytest.raises(ValueError, match="artifactURL"):
        artifact_of(url)
