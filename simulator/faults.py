"""What can be wrong with a pod, for tests of those who must notice."""

from __future__ import annotations

from typing import Literal

import msgspec

SleepState = Literal["awake", "weights_offloaded", "discard_all"]


class Faults(msgspec.Struct, forbid_unknown_fields=True):
    """No fault by default."""

    status: int = 0
    """Requests are answered with this status, and not computed."""
    times: int = 0
    """So many requests meet `status`, the next ones are served; 0 is all."""
    hang: bool = False
    """Requests are never answered."""
    cut_after_tokens: int = 0
    """Streams lose their connection after so many tokens."""
    loading: bool = False
    """Everything is 503, as before the model is loaded."""

    def take_status(self) -> int:
        """The status that the next request meets, 0 for none."""
        status = self.status
        if self.times:
            self.times -= 1
            self.status = status if self.times else 0
        return status
