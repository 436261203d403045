"""The command as it may be written down: results are shared, keys are not."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

HIDDEN = "***"
_KEY, _HEADERS = "--api-key", ("--header", "-H")


def redacted_command(argv: Sequence[str]) -> str:
    """The program's name, not its path; values of `--api-key` and of all headers are left out."""
    words, before = [Path(argv[0]).name], ""
    for word in argv[1:]:
        if before == _KEY:
            words.append(HIDDEN)
        elif before in _HEADERS:
            words.append(_header(word))
        else:
            words.append(_option(word))
        # A value may look like an option, but is none.
        before = word if before not in {_KEY, *_HEADERS} else ""
    return shlex.join(words)


def _option(word: str) -> str:
    """A word with its value in it: `--header=a=b`, `-Ha=b`."""
    if word.startswith(f"{_KEY}="):
        return f"{_KEY}={HIDDEN}"
    if word.startswith("--header="):
        return f"--header={_header(word.removeprefix('--header='))}"
    if word.startswith("-H") and word != "-H":
        return f"-H{_header(word.removeprefix('-H'))}"
    return word


def _header(pair: str) -> str:
    """Its name stays."""
    name = re.split("[=:]", pair, maxsplit=1)[0]
    return HIDDEN if name == pair else f"{name}={HIDDEN}"
