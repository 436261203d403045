"""Log lines: one an event, whatever is in it, for people or for machines."""

from __future__ import annotations

import json
import logging
import sys

import pytest

from gateway_plugin.settings.log_lines import HumanLines, JsonLines, fields


def record(message: str, *arguments: object, error: bool = False, **said: object) -> logging.LogRecord:
    info = sys.exc_info() if error else None
    made = logging.LogRecord("gateway_plugin.x", logging.INFO, "file", 1, message, arguments, info)
    for name, value in fields(**said).items():
        setattr(made, name, value)
    return made


def test_people_read_the_fields_behind_the_message():
    line = HumanLines().format(record("refused", user="alice", status=429))
    assert line.endswith("INFO gateway_plugin.x: refused user=alice status=429")


@pytest.mark.parametrize("text", ["two words", "a=b", "line\nend", "", 'quo"te', "\x1b[31mred", "\u2028"])
def test_what_is_no_plain_word_is_quoted_and_reads_back(text: str):
    line = HumanLines().format(record("m", user=text))
    assert len(line.splitlines()) == 1
    assert line.isprintable()
    assert json.loads(line.partition(" user=")[2]) == text


def test_a_message_never_ends_its_line():
    line = HumanLines().format(record("pod %s\nFAKE line", "x\x1b[2J"))
    assert line.isprintable()


def test_machines_read_one_object_a_line():
    said = json.loads(JsonLines().format(record("pod %s is back\n", "p-1", pod="p-1", attempts=2)))
    assert said["message"] == "pod p-1 is back\n"
    assert (said["level"], said["logger"], said["pod"], said["attempts"]) == ("info", "gateway_plugin.x", "p-1", 2)
    assert said["time"].endswith("Z")


def test_a_traceback_is_part_of_the_object():
    try:
        int("a bug")
    except ValueError:
        line = JsonLines().format(record("failed", error=True))
    assert len(line.splitlines()) == 1
    assert "ValueError: invalid literal" in json.loads(line)["traceback"]
