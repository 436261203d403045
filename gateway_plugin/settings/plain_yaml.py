"""YAML as configuration needs it: bounded in size, without aliases, no key twice.

Aliases let a few hundred bytes stand for gigabytes ("billion laughs"), and merge keys cost the square of that; nobody
needs them for a list of pods. libyaml's loader is eight times faster, but deep nesting makes it crash the process;
Python's raises.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Hashable

MAX_BYTES = 8 * 1024 * 1024
"""Some 100,000 endpoints; reading that takes seconds, so whoever reads while others wait does it in a thread."""


class PlainYamlError(ValueError):
    """Not YAML, or more of it than configuration needs; the text says where."""


def load(data: bytes | str) -> object:
    """The one document in `data`; raises PlainYamlError."""
    if len(data) > MAX_BYTES:
        raise PlainYamlError(f"{len(data)} bytes, more than {MAX_BYTES}")
    try:
        return yaml.load(data, Loader=_Loader)  # noqa: S506 - a subclass of the safe loader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        reason = f"{error.problem}, line {mark.line + 1}, column {mark.column + 1}" if mark else str(error.problem)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = getattr(error, "reason", str(error))
    raise PlainYamlError(reason)


class _Loader(yaml.SafeLoader):
    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]  # of the library's partial stubs
            reason = f"aliases (*{event.anchor}) are not allowed"
            raise yaml.composer.ComposerError(None, None, reason, event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue  # refused as a key below
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key.value!r} stands twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)
