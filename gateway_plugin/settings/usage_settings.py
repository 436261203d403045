"""Settings of the topic `usage`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from gateway_plugin.settings.prices import parse_prices
from gateway_plugin.settings.topic import Topic


class UsageSettings(Topic):
    """Who tells what a request used, and when it is over."""

    accounting: Literal["access_log", "ext_proc", "none"] = Field(
        "access_log",
        description="who reports tokens: Envoy's log; responses, sent through this process; or nobody",
    )
    release: Literal["stream_end", "access_log"] = Field(
        "stream_end",
        description="what frees a pod's place: the end of the gRPC stream, held for each request in flight, or the log",
    )
    stream_usage: Literal["inject", "require", "estimate"] = Field(
        "inject",
        description="a limited user's stream that reports no tokens: ask the engine to, answer 400, charge estimates",
    )

    request_traces: bool = Field(
        True,
        description="with Redis: write requests by length, each 10 s, for a GPU optimizer (docs/optimizer.md)",
    )

    ledger: bool = Field(
        False, description="write down who used what: requests and tokens by day, user, group and model (docs/usage.md)"
    )
    ledger_days: int = Field(
        92, description="how long a day of the ledger is kept; the default spans three months", ge=1, le=1100
    )
    prices: str = Field(
        "",
        description="of a million tokens, in any currency: MODEL=PROMPT/CACHED/OUTPUT, separated by commas; * for all"
        " others; the ledger's answers say what was used at these prices, also of the past; empty: nothing",
    )

    @field_validator("prices")
    @classmethod
    def _are_prices(cls, text: str) -> str:
        parse_prices(text)
        return text

    @model_validator(mode="after")
    def _somebody_counts(self) -> UsageSettings:
        if self.ledger and self.accounting == "none":
            raise ValueError("usage.ledger: nobody tells what was used with usage.accounting = 'none'")
        return self

    @model_validator(mode="after")
    def _somebody_releases(self) -> UsageSettings:
        if self.release == "access_log" and self.accounting != "access_log":
            raise ValueError(
                f"usage.release = 'access_log': nobody releases pods with usage.accounting = {self.accounting!r}"
            )
        return self
