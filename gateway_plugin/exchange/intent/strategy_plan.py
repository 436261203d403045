"""Which strategy holds for a request, and everything the strategy is told about it.

Precedence, as in AIBrix: the model's locked strategy, the `routing-strategy` header, the profile's strategy, the
configured default. None of them: no strategy, and Envoy balances.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from gateway_plugin.exchange.intent import rejections
from routing.prefix.prefix_blocks import PrefixKeys, prefix_keys, prefix_seed
from routing.profiles import ModelConfig, resolve
from routing.strategies.policy import RoutingRequest

if TYPE_CHECKING:
    from gateway_plugin.exchange.intent.request import Intent, Rules
    from gateway_plugin.openai.prompt import Prompt
    from routing.profiles import Resolved
    from routing.router import Router
    from routing.strategies.policy import Policy

_NO_CONFIG = ModelConfig()
_NO_KEYS = PrefixKeys((), ())


# Clients choose the profile, and models before anybody knows whether there is such a one.
_MAX_KEPT = 1024
_MAX_KEPT_CHARACTERS = 512


class Plan(msgspec.Struct, frozen=True):
    """How one request shall be routed. No policy means that Envoy balances."""

    policy: Policy | None
    strategy: str
    """The strategy as it was asked for: a name, an alias or a combination."""
    label: str
    """The strategy in metrics: the policy's own name, or "none"."""
    resolved: Resolved
    needs_body: bool
    prefix_seed: int = 0
    """Of the model's prompts without a cache salt, where the policy asks for prefixes."""


class Planner:
    """Makes plans. Those that follow from names alone are kept, for as long as the model's configuration stands."""

    def __init__(self, rules: Rules, router: Router) -> None:
        self._rules = rules
        self._router = router
        self._kept: dict[tuple[str, str, str], tuple[ModelConfig | None, Plan]] = {}

    def plan(self, intent: Intent, model: str, prompt: Prompt | None) -> Plan:
        """As `make_plan`."""
        key = (model, intent.strategy, intent.profile)
        kept = self._kept.get(key)
        # A configuration is never changed, only replaced.
        if kept is not None and kept[0] is self._router.config(model):
            return kept[1]
        plan = make_plan(intent, model, self._rules, self._router, prompt)
        if not plan.resolved.auto and sum(map(len, key)) <= _MAX_KEPT_CHARACTERS:
            if len(self._kept) >= _MAX_KEPT:
                self._kept.clear()
            self._kept[key] = self._router.config(model), plan
        return plan


def make_plan(intent: Intent, model: str, rules: Rules, router: Router, prompt: Prompt | None) -> Plan:
    """The plan for a request of a model, with what is known of its body; raises ApiError for an unknown strategy."""
    config = router.config(model) or _NO_CONFIG
    tokens = prompt.tokens if prompt else 0.0
    resolved = resolve(config, intent.profile, tokens, prompt.max_output_tokens if prompt else None)
    strategy = resolved.locked_strategy or intent.strategy or resolved.strategy or rules.default_strategy
    policy = router.policy(strategy) if strategy else None
    if policy is None:
        if strategy:
            raise rejections.unknown_strategy(strategy, router.strategies())
        return Plan(None, strategy, "none", resolved, needs_body=resolved.auto)
    needs_body = policy.needs_body or policy.needs_prefix or resolved.auto
    seed = prefix_seed(model) if policy.needs_prefix else 0
    return Plan(policy, strategy, policy.name, resolved, needs_body, seed)


def routing_request(
    intent: Intent, user: str, model: str, plan: Plan, router: Router, prompt: Prompt | None
) -> RoutingRequest:
    """What the policy is told; hashes the prompt only for a policy that asks for it."""
    keys, tokens, output_tokens = _NO_KEYS, 0.0, 0.0
    if prompt is not None and plan.policy is not None:
        tokens = prompt.tokens
        output_tokens = router.outputs.expected(model, prompt.max_output_tokens)
        if plan.policy.needs_prefix:
            salt = prompt.cache_salt
            keys = prefix_keys(prefix_seed(model, cache_salt=salt) if salt else plan.prefix_seed, prompt.key)
    return RoutingRequest(
        model=model,
        user=user,
        session=intent.session,
        prompt_tokens=tokens,
        output_tokens=output_tokens,
        prefix=keys.hashes,
        prefix_tokens=keys.tokens,
        config=plan.resolved.config,
    )
