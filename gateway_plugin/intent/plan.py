"""Which strategy holds for a request, and everything the strategy is told about it.

Precedence, as in AIBrix: the model's locked strategy, the `routing-strategy` header, the profile's strategy, the
configured default. None of them: no strategy, and Envoy balances.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from gateway_plugin.intent import rejections
from routing.policy import RoutingRequest
from routing.prefix_keys import PrefixKeys, prefix_keys, prefix_seed
from routing.profiles import ModelConfig, is_auto, resolve

if TYPE_CHECKING:
    from gateway_plugin.intent.headers import Intent, Rules
    from gateway_plugin.openai.prompt import Prompt
    from routing.policy import Policy
    from routing.profiles import Resolved
    from routing.router import Router

_NO_CONFIG = ModelConfig()
_NO_KEYS = PrefixKeys((), ())


class Plan(msgspec.Struct, frozen=True):
    """How one request shall be routed. No policy means that Envoy balances."""

    policy: Policy | None
    strategy: str
    """The strategy as it was asked for: a name, an alias or a combination."""
    resolved: Resolved
    needs_body: bool


def make_plan(intent: Intent, model: str, rules: Rules, router: Router, prompt: Prompt | None) -> Plan:
    """The plan for a request of a model, with what is known of its body; raises ApiError for an unknown strategy."""
    config = router.config(model) or _NO_CONFIG
    tokens = prompt.tokens if prompt else 0.0
    resolved = resolve(config, intent.profile, tokens, prompt.max_output_tokens if prompt else None)
    strategy = resolved.locked_strategy or intent.strategy or resolved.strategy or rules.default_strategy
    policy = router.policy(strategy) if strategy else None
    if strategy and policy is None:
        raise rejections.unknown_strategy(strategy, router.strategies())
    wants_body = policy is not None and (policy.needs_body or policy.needs_prefix)
    return Plan(policy, strategy, resolved, needs_body=wants_body or is_auto(intent.profile))


def routing_request(
    intent: Intent, user: str, model: str, plan: Plan, router: Router, prompt: Prompt | None
) -> RoutingRequest:
    """What the policy is told; hashes the prompt only for a policy that asks for it."""
    keys, tokens, output_tokens = _NO_KEYS, 0.0, 0.0
    if prompt is not None and plan.policy is not None:
        tokens = prompt.tokens
        output_tokens = router.outputs.expected(model, prompt.max_output_tokens)
        if plan.policy.needs_prefix:
            keys = prefix_keys(prefix_seed(model, cache_salt=prompt.cache_salt), prompt.key)
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
