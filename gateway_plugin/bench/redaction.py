"""The command as it may be written down: results are shared, keys are not."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

HIDDEN = "***"


def redacted_command(argv: Sequence[str]) -> str:
    """The program's name, not its path; values of `--api-key` and of all headers are left out."""
    words = [Path(argv[0]).name]
    hide = ""
    for word in argv[1:]:
        option, given, value = word.partition("=")
        if hide:
            words.append(_hidden(hide, word))
        elif given and option in {"--api-key", "--header"}:
            words.append(f"{option}={_hidden(option, value)}")
        else:
            words.append(word)
        hide = word if not hide and word in {"--api-key", "--header", "-H"} else ""
    return shlex.join(words)


def _hidden(option: str, value: str) -> str:
    """Of a header, its name stays."""
    name = re.split("[=:]", value, maxsplit=1)[0]
    return HIDDEN if option == "--api-key" or name == value else f"{name}={HIDDEN}"
