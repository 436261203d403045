"""What an exchange wants done next. Whoever carries it does so, and tells the exchange what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from protos.ext_proc import ProcessingResponse
    from ratelimit import Admission


@dataclass(frozen=True, slots=True)
class Reply:
    """Send this; `final` means that nothing more will be said and the stream may be closed."""

    message: ProcessingResponse
    final: bool = False


@dataclass(frozen=True, slots=True)
class Identify:
    """Find the owner of an API key, then call `identified` or `refused`."""

    key_sha256: str


@dataclass(frozen=True, slots=True)
class Admit:
    """Ask the limiter, then call `admitted` or `refused`."""

    admission: Admission


Step = Reply | Identify | Admit
