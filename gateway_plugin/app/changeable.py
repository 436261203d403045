"""Settings that may change while the process runs, and what takes them over."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from gateway_plugin.accounting.limiting import defaults_of
from gateway_plugin.app.parts import engine_keys_of, rules_of, tls_of
from gateway_plugin.settings.nearest import did_you_mean
from gateway_plugin.settings.start_error import StartError

if TYPE_CHECKING:
    from gateway_plugin.app.assembly import Assembly
    from gateway_plugin.app.reloading import Changeable
    from gateway_plugin.settings.settings import Settings
    from routing.router import Router


def changeable(parts: Assembly) -> Changeable:
    """What takes over settings that may change while the process runs."""
    return {
        ("routing.default_strategy",): lambda new: parts.processor.services.use_default_strategy(
            new.routing.default_strategy
        ),
        ("logs.level",): lambda new: logging.getLogger().setLevel(new.logs.level.upper()),
        ("logs.access_lines", "logs.access_sample_ratio"): lambda new: parts.line_writer.change(
            new.logs.access_lines, new.logs.access_sample_ratio, parts.stories
        ),
        ("users.default_rpm", "users.default_tokens_per_request", "identity.anonymous_rpm"): lambda new: (
            parts.limiter.change_defaults(defaults_of(new))
        ),
    }


def check_whole(router: Router, settings: Settings) -> None:
    """Raises StartError or ValueError for what a start would refuse."""
    check_strategy(router, settings.routing.default_strategy)
    rules_of(settings)
    tls_of(settings.tls)
    engine_keys_of(settings.engines)


def check_strategy(router: Router, strategy: str) -> None:
    """Raises StartError, with what is allowed."""
    if strategy and router.policy(strategy) is None:
        known = router.strategies()
        allowed = f"{', '.join(known)}, or empty{did_you_mean(strategy, known)}"
        raise StartError(f"routing.default_strategy = {strategy!r}: no such strategy; allowed: {allowed}")
