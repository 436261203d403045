"""`/v1/registry`: aliases, hidden models and canaries, for the operator.

    GET                  /v1/registry
    PUT, DELETE          /v1/registry/aliases/{name}      gpt-4o -> llama-3-70b
    PUT, DELETE          /v1/registry/models/{id}         {"hidden": true, "canary": {"model", "weight_percent"}}

A change holds in this replica before it is answered, and in others within a second. A target need not exist yet.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fastapi import APIRouter, Response

from gateway_plugin.http.admin import admin_guard
from gateway_plugin.http.error_docs import errors
from gateway_plugin.http.registry_schema import (
    AliasReply,
    AliasRequest,
    CanaryReply,
    IdPath,
    RegistryReply,
    RuleReply,
    RuleRequest,
)
from gateway_plugin.http.user_paths import refuse_other_methods
from gateway_plugin.models.catalogue.facts import Kind
from gateway_plugin.models.catalogue.registry import (
    ALIAS,
    MAX_ENTRIES,
    RULE,
    Alias,
    Canary,
    ModelRule,
    encode_alias,
    encode_rule,
)
from gateway_plugin.openai import error_table as kinds
from gateway_plugin.openai.errors import ApiError

if TYPE_CHECKING:
    from gateway_plugin.models.live.live_catalogue import LiveCatalogue

REGISTRY = "/v1/registry"
ALIAS_PATH = REGISTRY + "/aliases/{name:path}"
RULE_PATH = REGISTRY + "/models/{name:path}"

_ALLOWED = {REGISTRY: {"GET"}, ALIAS_PATH: {"PUT", "DELETE"}, RULE_PATH: {"PUT", "DELETE"}}
_BAD_NAME = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_MEANINGS = {
    400: "The body cannot be decoded.",
    401: "The admin token is missing or wrong; `WWW-Authenticate` says which.",
    404: "There is no such alias or rule.",
    409: "The name is that of a model, or of an alias, where it must not be; or there are too many.",
    422: "A value cannot be used; `param` names it.",
    503: "The store of the registry cannot be reached; try again after `Retry-After` seconds.",
}


def registry_router(live: LiveCatalogue, admin_token: str = "") -> APIRouter:
    """Everything below `/v1/registry`; with an admin token, only for those who have it."""
    common = errors(*([401] if admin_token else []), 422, 503, meanings=_MEANINGS)
    router = APIRouter(tags=["registry"], dependencies=admin_guard(admin_token), responses=common)
    _add_list(router, live)
    _add_aliases(router, live)
    _add_rules(router, live)
    refuse_other_methods(router, _ALLOWED)
    return router


def _add_list(router: APIRouter, live: LiveCatalogue) -> None:
    @router.get(REGISTRY)
    async def read() -> RegistryReply:
        registry = live.catalogue.registry
        return RegistryReply(
            aliases=[_alias_reply(name, alias) for name, alias in sorted(registry.aliases.items())],
            models=[_rule_reply(model, rule) for model, rule in sorted(registry.rules.items())],
        )


def _add_aliases(router: APIRouter, live: LiveCatalogue) -> None:
    @router.put(
        ALIAS_PATH,
        responses=errors(400, 409, meanings=_MEANINGS) | {201: {"model": AliasReply, "description": "Created"}},
    )
    async def put_alias(name: IdPath, request: AliasRequest, response: Response) -> AliasReply:
        _check_name(name, "name")
        _check_name(request.target, "target")
        _check_alias(live, name, request.target)
        known = live.catalogue.registry.aliases.get(name)
        alias = Alias(request.target, request.restore_name, known.created if known else int(live.wall_clock()))
        await live.change("registry", {ALIAS + name: encode_alias(alias)})
        response.status_code = 200 if known else 201
        return _alias_reply(name, alias)

    @router.delete(ALIAS_PATH, status_code=204, responses=errors(404, meanings=_MEANINGS))
    async def delete_alias(name: IdPath) -> None:
        if name not in live.catalogue.registry.aliases:
            raise ApiError(kinds.UNKNOWN_ALIAS, f"there is no alias {name}", param="name")
        await live.change("registry", {}, [ALIAS + name])


def _add_rules(router: APIRouter, live: LiveCatalogue) -> None:
    @router.put(RULE_PATH, responses=errors(400, 409, meanings=_MEANINGS))
    async def put_rule(name: IdPath, request: RuleRequest) -> RuleReply:
        _check_name(name, "name")
        canary = None
        if request.canary is not None:
            _check_name(request.canary.model, "canary.model")
            _check_canary(live, name, request.canary.model)
            canary = Canary(request.canary.model, request.canary.weight_percent)
        _check_room(live, RULE + name)
        rule = ModelRule(request.hidden, canary)
        await live.change("registry", {RULE + name: encode_rule(rule)})
        return _rule_reply(name, rule)

    @router.delete(RULE_PATH, status_code=204, responses=errors(404, meanings=_MEANINGS))
    async def delete_rule(name: IdPath) -> None:
        if name not in live.catalogue.registry.rules:
            raise ApiError(kinds.UNKNOWN_RULE, f"there is no rule for {name}", param="name")
        await live.change("registry", {}, [RULE + name])


def _check_name(name: str, param: str) -> None:
    if _BAD_NAME.search(name) or name != name.strip():
        message = f"{param}: allowed: no control characters, no spaces around it"
        raise ApiError(kinds.BAD_NAME, message, param=param)


def _check_alias(live: LiveCatalogue, name: str, target: str) -> None:
    entry = live.snapshot.by_id.get(name)
    if name == target:
        raise _conflict("a name cannot stand for itself", "target")
    if entry is not None and entry.facts.kind is not Kind.ALIAS:
        raise _conflict(f"{name} is a model", "name")
    if target in live.catalogue.registry.aliases:
        raise _conflict(f"{target} is an alias itself; name the model behind it", "target")
    if any(alias.target == name for alias in live.catalogue.registry.aliases.values()):
        raise _conflict(f"{name} is the target of an alias", "name")
    _check_room(live, ALIAS + name)


def _check_canary(live: LiveCatalogue, model: str, canary: str) -> None:
    if model == canary:
        raise _conflict("a model cannot be its own canary", "canary.model")
    for name, param in ((model, "name"), (canary, "canary.model")):
        if name in live.catalogue.registry.aliases:
            raise _conflict(f"{name} is an alias; name the model behind it", param)


def _check_room(live: LiveCatalogue, key: str) -> None:
    registry = live.catalogue.registry
    known = {ALIAS + name for name in registry.aliases} | {RULE + name for name in registry.rules}
    if key not in known and len(known) >= MAX_ENTRIES:
        raise _conflict(f"the registry has {MAX_ENTRIES} entries, and no more fit", None)


def _conflict(message: str, param: str | None) -> ApiError:
    return ApiError(kinds.REGISTRY_CONFLICT, message, param=param)


def _alias_reply(name: str, alias: Alias) -> AliasReply:
    return AliasReply(name=name, target=alias.target, restore_name=alias.restore_name, created=alias.created)


def _rule_reply(model: str, rule: ModelRule) -> RuleReply:
    canary = rule.canary
    shown = CanaryReply(model=canary.model, weight_percent=canary.weight_percent) if canary is not None else None
    return RuleReply(model=model, hidden=rule.hidden, canary=shown)
