"""`/v1/webhooks`: who is told of events, and what could not be told; for the operator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter

from gateway_plugin.http.admin import admin_guard
from gateway_plugin.http.error_docs import errors
from gateway_plugin.http.user_paths import refuse_other_methods
from gateway_plugin.http.webhooks_schema import (
    DeadLetterList,
    DeadLetterReply,
    LetterPath,
    NewWebhookReply,
    RedeliveryReply,
    WebhookList,
    WebhookPath,
    WebhookReply,
    WebhookRequest,
)
from gateway_plugin.models.webhooks.delivery import DeliveryError
from gateway_plugin.models.webhooks.records import (
    MAX_WEBHOOKS,
    DeadLetter,
    Webhook,
    encode,
    new_id,
    new_secret,
    secret_key,
)
from gateway_plugin.models.webhooks.targets import check_url
from gateway_plugin.openai import error_table as kinds
from gateway_plugin.openai.errors import ApiError

if TYPE_CHECKING:
    from gateway_plugin.models.live.live_catalogue import LiveCatalogue
    from gateway_plugin.models.webhooks.dead_letters import DeadLetters
    from gateway_plugin.models.webhooks.delivery import Send

WEBHOOKS = "/v1/webhooks"
WEBHOOK = WEBHOOKS + "/{webhook_id}"
DEAD_LETTERS = WEBHOOK + "/dead_letters"
REDELIVER = DEAD_LETTERS + "/{letter_id}/redeliver"

_ALLOWED = {WEBHOOKS: {"GET", "POST"}, WEBHOOK: {"GET", "DELETE"}, DEAD_LETTERS: {"GET", "DELETE"}, REDELIVER: {"POST"}}
_MEANINGS = {
    400: "The body cannot be decoded.",
    401: "The admin token is missing or wrong; `WWW-Authenticate` says which.",
    404: "There is no such webhook or dead letter.",
    409: "There are as many webhooks as there may be.",
    422: "A value cannot be used; `param` names it.",
    503: "The store of webhooks cannot be reached; try again after `Retry-After` seconds.",
}


def webhooks_router(
    live: LiveCatalogue, letters: DeadLetters, send: Send, *, private_targets: bool, admin_token: str = ""
) -> APIRouter:
    """Everything below `/v1/webhooks`; with an admin token, only for those who have it."""
    common = errors(*([401] if admin_token else []), 422, 503, meanings=_MEANINGS)
    router = APIRouter(tags=["webhooks"], dependencies=admin_guard(admin_token), responses=common)
    _add_webhooks(router, live, private_targets=private_targets)
    _add_single(router, live, letters)
    _add_dead_letters(router, live, letters, send)
    refuse_other_methods(router, _ALLOWED)
    return router


def _add_webhooks(router: APIRouter, live: LiveCatalogue, *, private_targets: bool) -> None:
    @router.get(WEBHOOKS)
    async def list_webhooks() -> WebhookList:
        oldest_first = sorted(live.webhooks.values(), key=lambda webhook: (webhook.created, webhook.id))
        return WebhookList(data=[_reply(webhook) for webhook in oldest_first])

    @router.post(WEBHOOKS, status_code=201, responses=errors(400, 409, meanings=_MEANINGS))
    async def create(request: WebhookRequest) -> NewWebhookReply:
        if len(live.webhooks) >= MAX_WEBHOOKS:
            message = f"there are {MAX_WEBHOOKS} webhooks, and no more may be"
            raise ApiError(kinds.TOO_MANY_WEBHOOKS, message)
        webhook = _webhook(request, live.wall_clock(), private_targets=private_targets)
        await live.change("webhooks", {webhook.id: encode(webhook)})
        return NewWebhookReply(**_reply(webhook).model_dump(), secret=webhook.secret)


def _add_single(router: APIRouter, live: LiveCatalogue, letters: DeadLetters) -> None:
    @router.get(WEBHOOK, responses=errors(404, meanings=_MEANINGS))
    async def read(webhook_id: WebhookPath) -> WebhookReply:
        return _reply(_known(live, webhook_id))

    @router.delete(WEBHOOK, status_code=204, responses=errors(404, meanings=_MEANINGS))
    async def delete(webhook_id: WebhookPath) -> None:
        webhook = _known(live, webhook_id)
        await live.change("webhooks", {}, [webhook.id])
        await letters.drop(await letters.of(webhook.id))


def _add_dead_letters(router: APIRouter, live: LiveCatalogue, letters: DeadLetters, send: Send) -> None:
    @router.get(DEAD_LETTERS, responses=errors(404, meanings=_MEANINGS))
    async def list_dead_letters(webhook_id: WebhookPath) -> DeadLetterList:
        webhook = _known(live, webhook_id)
        return DeadLetterList(data=[_letter_reply(letter) for letter in await letters.of(webhook.id)])

    @router.delete(DEAD_LETTERS, status_code=204, responses=errors(404, meanings=_MEANINGS))
    async def drop_dead_letters(webhook_id: WebhookPath) -> None:
        await letters.drop(await letters.of(_known(live, webhook_id).id))

    @router.post(REDELIVER, responses=errors(404, meanings=_MEANINGS))
    async def redeliver(webhook_id: WebhookPath, letter_id: LetterPath) -> RedeliveryReply:
        webhook = _known(live, webhook_id)
        letter = next((one for one in await letters.of(webhook.id) if one.id == letter_id), None)
        if letter is None:
            raise _not_found(f"webhook {webhook_id} has no dead letter {letter_id}", "letter_id")
        try:
            await send(webhook, letter.event_id, letter.body.encode())
        except DeliveryError as error:
            return RedeliveryReply(delivered=False, error=str(error))
        await letters.drop([letter])
        return RedeliveryReply(delivered=True, error=None)


def _webhook(request: WebhookRequest, now_seconds: float, *, private_targets: bool) -> Webhook:
    try:
        check_url(request.url, private=private_targets)
    except (ValueError, OSError) as error:
        raise _bad("url", error) from None
    secret = request.secret or new_secret()
    try:
        secret_key(secret)
    except ValueError as error:
        raise _bad("secret", error) from None
    return Webhook(
        id=new_id("wh"),
        url=request.url,
        secret=secret,
        events=tuple(dict.fromkeys(request.events)),
        models=tuple(dict.fromkeys(request.models)),
        description=request.description,
        created=int(now_seconds),
    )


def _known(live: LiveCatalogue, webhook_id: str) -> Webhook:
    webhook = live.webhooks.get(webhook_id)
    if webhook is None:
        raise _not_found(f"there is no webhook {webhook_id}", "webhook_id")
    return webhook


def _bad(param: str, error: Exception) -> ApiError:
    return ApiError(kinds.BAD_WEBHOOK, f"{param}: {error}", param=param)


def _not_found(message: str, param: str) -> ApiError:
    return ApiError(kinds.UNKNOWN_WEBHOOK, message, param=param)


def _reply(webhook: Webhook) -> WebhookReply:
    return WebhookReply(
        id=webhook.id,
        url=webhook.url,
        events=list(webhook.events),
        models=list(webhook.models),
        description=webhook.description,
        created=webhook.created,
    )


def _letter_reply(letter: DeadLetter) -> DeadLetterReply:
    return DeadLetterReply(
        id=letter.id,
        event_id=letter.event_id,
        event_type=letter.event_type,
        created=letter.created,
        attempts=letter.attempts,
        error=letter.error,
        body=letter.body,
    )
