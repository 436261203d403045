"""Whether an adapter can run on its base at all, read from its `adapter_config.json` before anything is loaded.

The file is PEFT's: `peft_type`, `r`, `base_model_name_or_path`. An engine finds the same out while it loads, in words
of its own and after a minute; some versions answer 200 and fail at the first request.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_MAX_RANK = 16
"""vLLM's `--max-lora-rank` where it was not set."""


@dataclass(frozen=True, slots=True)
class Unfit:
    reason: str
    """A condition's reason."""
    message: str


def unfit(config: Mapping[str, Any], base_names: tuple[str, ...], max_rank: int | None) -> Unfit | None:
    """Why an adapter cannot run, or None. `base_names`: what its base is called; empty: not known."""
    kind, rank, base = config.get("peft_type"), config.get("r"), config.get("base_model_name_or_path")
    if kind is not None and kind != "LORA":
        return Unfit("NotLora", f"peft_type is {kind!r}, and engines load LORA only")
    highest = DEFAULT_MAX_RANK if max_rank is None else max_rank
    if isinstance(rank, int) and max_rank is not None and rank > highest:
        return Unfit("RankTooLarge", f"rank {rank} is above the engine's --max-lora-rank {highest}")
    if isinstance(base, str) and base and base_names and not _same(base, base_names):
        return Unfit("WrongBase", f"made for {base!r}, and the pods serve {', '.join(base_names)}")
    return None


def _same(base: str, names: tuple[str, ...]) -> bool:
    """Names are paths, repositories or short names, so the last part decides."""
    short = _short(base)
    return any(_short(name) == short for name in names)


def _short(name: str) -> str:
    return name.rstrip("/").rpartition("/")[2].lower()
