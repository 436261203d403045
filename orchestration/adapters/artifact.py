"""Where an adapter's weights are, and under which path an engine is told to look.

An artifact is known by its URL and revision: when either changes, the adapter is another one and must be loaded anew.
The engines themselves read Hugging Face names and local paths; everything else needs a sidecar that downloads it.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

SCHEMES = {
    "s3": "s3",
    "gs": "gcs",
    "gcs": "gcs",
    "tos": "tos",
    "hf": "huggingface",
    "huggingface": "huggingface",
    "http": "http",
    "https": "http",
}
"""What users write, and what it is."""
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+(?:/[\w./-]+)?")
_ID_DIGITS = 12
_LONGEST = 2048


@dataclass(frozen=True, slots=True)
class Artifact:
    """One version of an adapter's weights."""

    url: str
    source: str
    """One of the values of `SCHEMES`, or `path`."""
    location: str
    """A repository for Hugging Face, a path for `path`, else the URL without its revision."""
    revision: str | None = None

    @property
    def identity(self) -> str:
        """Tells versions apart; part of the directory that a sidecar keeps it in."""
        return hashlib.sha256(f"{self.location}@{self.revision}".encode()).hexdigest()[:_ID_DIGITS]

    @property
    def engine_path(self) -> str | None:
        """What the engine can read by itself; None when somebody must fetch it first.

        A revision cannot be told to an engine, so with one it must be fetched, too.
        """
        return self.location if self.source in ("huggingface", "path") and self.revision is None else None


def artifact_of(url: str) -> Artifact:
    """`?revision=R` and a last `@R` name a revision. ValueError when it cannot be an artifact."""
    if not url or len(url) > _LONGEST or any(character.isspace() for character in url):
        raise ValueError(f"artifactURL {url[:80]!r} is empty, too long or has spaces")
    if url.startswith("/"):
        return _local(url)
    scheme, separator, _ = url.partition("://")
    source = SCHEMES.get(scheme.lower()) if separator else None
    if source is None:
        raise ValueError(f"artifactURL {url!r}: one of {', '.join(SCHEMES)} or an absolute path is wanted")
    return _remote(url, source)


def _local(url: str) -> Artifact:
    if ".." in url.split("/"):
        raise ValueError(f"artifactURL {url!r} leaves its directory")
    return Artifact(url, "path", url.rstrip("/") or "/")


def _remote(url: str, source: str) -> Artifact:
    parts = urlsplit(url)
    place, at, named = (parts.netloc + parts.path).rpartition("@") if source == "huggingface" else ("", "", "")
    revision = parse_qs(parts.query).get("revision", [named if at else None])[0]
    if source == "huggingface":
        location = (place if at else parts.netloc + parts.path).rstrip("/")
        if not _REPOSITORY.fullmatch(location) or ".." in location.split("/"):
            raise ValueError(f"artifactURL {url!r} names no repository such as huggingface://owner/name")
        return Artifact(url, source, location, revision)
    if not parts.netloc or parts.username or parts.password:
        raise ValueError(f"artifactURL {url!r} names no host or bucket, or has credentials in it")
    return Artifact(url, source, parts._replace(query="", fragment="").geturl(), revision)
