"""What all objects, lists and watches of the API have in common, and its decoding.

Objects of a list or a stream stay `Raw` at first, so that one that cannot be read costs nobody else anything. `null`
stands for "absent" in many places. Items of a list carry neither `apiVersion` nor `kind`.
"""

from __future__ import annotations

import msgspec


class Metadata(msgspec.Struct, rename="camel"):
    """`creation_timestamp` sorts as text. A `deletion_timestamp` means that the object is going."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None


class AnyObject(msgspec.Struct):
    """What every object has."""

    metadata: Metadata = msgspec.field(default_factory=Metadata)


class ListMetadata(msgspec.Struct, rename="camel"):
    """`continue_` is empty on the last page."""

    resource_version: str = ""
    continue_: str = msgspec.field(default="", name="continue")


class ListPage(msgspec.Struct):
    """One page of a list. Go writes an empty list as null."""

    metadata: ListMetadata
    items: list[msgspec.Raw] | None = None


class WatchEvent(msgspec.Struct):
    """One line of a watch: ADDED, MODIFIED, DELETED, BOOKMARK or ERROR, and an object (for ERROR a Status)."""

    type: str
    object: msgspec.Raw


class WatchFailure(msgspec.Struct):
    """A Status that says what went wrong."""

    code: int = 0
    reason: str = ""
    message: str = ""


decode_any = msgspec.json.Decoder(AnyObject).decode
decode_page = msgspec.json.Decoder(ListPage).decode
decode_event = msgspec.json.Decoder(WatchEvent).decode
decode_failure = msgspec.json.Decoder(WatchFailure).decode
