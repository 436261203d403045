"""How log lines look: for people, or JSON for machines; one line an event, whatever is in it.

A record may carry fields beside its message (`extra=fields(...)`). For people they follow as name=value; values that
could be mistaken for more than one word, or end the line, are quoted.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Any, Literal

LogFormat = Literal["human", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]
_FIELDS = "gateway_fields"
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._:/+@,-[]%")
# Each of its servers tells its start and its end, under a logger called "error".
_QUIET_LOGGERS = ("uvicorn", "uvicorn.error")


def fields(**values: object) -> dict[str, Any]:
    """For `extra` of a log call."""
    return {_FIELDS: values}


class HumanLines(logging.Formatter):
    """Time, level, logger and message as ever, then the fields."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the library's name
        """The line, without a traceback, which the library adds."""
        record.message = one_line(record.message)
        line = super().formatMessage(record)
        pairs = [f"{name}={shown(value)}" for name, value in getattr(record, _FIELDS, {}).items()]
        return " ".join([line, *pairs])


class JsonLines(logging.Formatter):
    """One object a line: time (RFC 3339, UTC), level, logger, message, the fields, and a traceback as text."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        said: dict[str, object] = {
            "time": f"{moment}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, _FIELDS, {}),
        }
        if record.exc_info:
            said["traceback"] = self.formatException(record.exc_info)
        return json.dumps(said, ensure_ascii=False, default=str)


def configure(level: str, form: LogFormat = "human") -> None:
    """Sends all log lines of this process to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if form == "json" else HumanLines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in _QUIET_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)


def shown(value: object) -> str:
    """As one word."""
    text = str(value)
    return text if text and _PLAIN.issuperset(text) else json.dumps(text, ensure_ascii=True)


def one_line(text: str) -> str:
    """Without what would end the line, or change how a terminal shows it."""
    return (
        text
        if text.isprintable()
        else "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    )
