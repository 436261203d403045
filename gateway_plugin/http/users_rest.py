"""The users API's REST face: users, what they have used, and their API keys.

Creating is atomic, and so is a change (PATCH): of two at the same time neither is lost. Replacing (PUT) creates the
user when there is none, so that a description of all users can be applied again and again.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from math import ceil
from typing import TYPE_CHECKING, Annotated

import msgspec
from fastapi import APIRouter, Path, Query, Response

from gateway_plugin.http.admin import admin_guard
from gateway_plugin.http.error_docs import common_errors, errors
from gateway_plugin.http.user_paths import KEY, KEYS, USAGE, USER, USERS, RawPathRoute, refuse_other_methods
from gateway_plugin.http.users_schema import (
    NAME_RULE,
    KeyList,
    KeyPatch,
    KeyReply,
    KeyRequest,
    NewKeyReply,
    NewUser,
    ParallelUsage,
    QuotaUsage,
    UsageReply,
    UserList,
    UserPatch,
    UserReply,
    WholeUser,
    WindowUsage,
    user_reply,
)
from gateway_plugin.openai import error_table as kinds
from gateway_plugin.openai.errors import ApiError
from ratelimit import CorruptUserRecord, InvalidUserName, UserRecord
from ratelimit.users.api_keys import NoSuchUser, TooManyKeys
from ratelimit.users.users import MAX_NAME_CHARACTERS, check_new_name

if TYPE_CHECKING:
    from ratelimit import LimitStore, UserStore
    from ratelimit.store.limit_store import KeyStore
    from ratelimit.windows.decision import Usage
    from ratelimit.windows.quotas import QuotaState

# Of how many users a list can tell.
_MAX_USERS = 100_000
_MAX_PAGE_USERS = 1000
"""Users of one page."""
_SAME_LIST_SECONDS = 10.0
"""In which pages are cut from one walk over the store."""
# Reads at the same time: a list must not take every connection to the store from the requests that wait for it.
_READS = 8

UserPath = Annotated[
    str,
    Path(
        min_length=1,
        max_length=MAX_NAME_CHARACTERS,
        json_schema_extra=NAME_RULE,
        description="percent-encoded; `/` only needs it where what follows reads like `/usage` or `/keys`",
        examples=["lgy"],
    ),
]

KeyPath = Annotated[str, Path(min_length=1, max_length=64, examples=["3f9c1b2a4d5e6f70"])]


def users_rest_router(users: UserStore, limits: LimitStore, keys: KeyStore, admin_token: str = "") -> APIRouter:
    """Everything below `/v1/users`; with an admin token, only for those who have it."""
    router = APIRouter(
        route_class=RawPathRoute, dependencies=admin_guard(admin_token), responses=common_errors(admin_token)
    )
    _add_list(router, users)
    _add_users(router, users)
    _add_usage(router, limits)
    _add_keys(router, users, keys)
    refuse_other_methods(router)
    return router


def _add_list(router: APIRouter, users: UserStore) -> None:
    names = _Names(users)

    @router.get(USERS, tags=["users"])
    async def list_users(
        limit: Annotated[int, Query(ge=1, le=_MAX_PAGE_USERS, description="users on a page")] = 100,
        after: Annotated[str, Query(description="only names that sort after this one")] = "",
    ) -> UserList:
        return await _page(users, await names.after(after), limit)

    @router.post(USERS, tags=["users"], status_code=201, responses=errors(400, 409))
    async def create(user: NewUser) -> UserReply:
        check_new_name(user.name)
        record = UserRecord(name=user.name, **user.changes())
        if not await users.create(record):
            raise ApiError(kinds.USER_EXISTS, f"user {user.name} exists", param="name")
        return user_reply(record)


def _add_users(router: APIRouter, users: UserStore) -> None:
    @router.get(USER, tags=["users"], responses=errors(404))
    async def read(name: UserPath) -> UserReply:
        return user_reply(await _known(users, name))

    @router.put(
        USER, tags=["users"], responses=errors(400, 409) | {201: {"model": UserReply, "description": "Created"}}
    )
    async def replace(name: UserPath, user: WholeUser, response: Response) -> UserReply:
        if user.name not in (None, name):
            message = f"the path names user {name}, and the body another one"
            raise ApiError(kinds.OTHER_NAME, message, param="name")
        record = UserRecord(name=name, **user.changes())
        if not await users.update(record):
            check_new_name(name)
            if await users.create(record):
                response.status_code = 201
            else:
                await users.update(record)
        return user_reply(record)

    @router.patch(USER, tags=["users"], responses=errors(400, 404))
    async def change(name: UserPath, changes: UserPatch) -> UserReply:
        # Under the name it was found by, whatever another program wrote into it.
        record = await users.change(name, lambda old: msgspec.structs.replace(old, name=name, **changes.changes()))
        if record is None:
            raise unknown_user(name)
        return user_reply(record)

    @router.delete(USER, tags=["users"], status_code=204, responses=errors(404))
    async def delete(name: UserPath) -> None:
        if not await users.delete(name):
            raise unknown_user(name)


def _add_usage(router: APIRouter, limits: LimitStore) -> None:
    @router.get(USAGE, tags=["users"], responses=errors(404))
    async def usage(name: UserPath) -> UsageReply:
        used = await limits.usage(name)
        if used is None:
            raise unknown_user(name)
        return _usage_reply(name, used)


def _add_keys(router: APIRouter, users: UserStore, keys: KeyStore) -> None:
    @router.post(KEYS, tags=["keys"], status_code=201, responses=errors(400, 404, 409))
    async def create_key(name: UserPath, request: KeyRequest | None = None) -> NewKeyReply:
        label, expires_at = (request.label, request.expires_at) if request else ("", None)
        try:
            key = await keys.create_key(name, label, expires_at)
        except NoSuchUser:
            raise unknown_user(name) from None
        except TooManyKeys as error:
            raise ApiError(kinds.TOO_MANY_KEYS, str(error)) from None
        return NewKeyReply(id=key.id, label=label, secret=key.secret)

    @router.get(KEYS, tags=["keys"], responses=errors(404))
    async def list_keys(name: UserPath) -> KeyList:
        await _known(users, name)
        return KeyList(
            data=[
                KeyReply(
                    id=key.id,
                    label=key.label,
                    prefix=key.prefix,
                    created_at=int(key.created_at),
                    expires_at=key.expires_at,
                )
                for key in await keys.keys(name)
            ]
        )

    @router.patch(KEY, tags=["keys"], status_code=204, responses=errors(400, 404))
    async def expire_key(name: UserPath, key_id: KeyPath, request: KeyPatch) -> None:
        if not await keys.expire_key(name, key_id, request.expires_at):
            message = f"user {name} has no key {key_id}, or it has expired"
            raise ApiError(kinds.UNKNOWN_KEY, message, param="key_id")

    @router.delete(KEY, tags=["keys"], status_code=204, responses=errors(404))
    async def revoke_key(name: UserPath, key_id: KeyPath) -> None:
        if not await keys.revoke_key(name, key_id):
            message = f"user {name} has no key {key_id}"
            raise ApiError(kinds.UNKNOWN_KEY, message, param="key_id")


async def _known(users: UserStore, name: str) -> UserRecord:
    record = await users.read(name)
    if record is None:
        raise unknown_user(name)
    # Under the name it was found by, whatever another program wrote into it.
    return msgspec.structs.replace(record, name=name)


class _Names:
    """The names of all users, for pages. The first page walks all keys of the store; those that follow within some
    seconds are cut from the same list, and one walk at a time is under way."""

    def __init__(self, users: UserStore) -> None:
        self._users = users
        self._names: list[str] = []
        self._walked_at = float("-inf")
        self._walking = asyncio.Lock()

    async def after(self, name: str) -> list[str]:
        """All that sort behind it."""
        async with self._walking:
            now = asyncio.get_running_loop().time()
            if not name or now - self._walked_at >= _SAME_LIST_SECONDS:
                self._names = sorted(await self._users.names(_MAX_USERS))
                self._walked_at = now
            return self._names[bisect_right(self._names, name) :]


async def _page(users: UserStore, names: list[str], limit: int) -> UserList:
    page = names[:limit]
    data: list[UserReply] = []
    unreadable: list[str] = []
    for start in range(0, len(page), _READS):
        some = page[start : start + _READS]
        for name, record in zip(some, await asyncio.gather(*(_readable(users, name) for name in some)), strict=True):
            if isinstance(record, UserRecord):
                data.append(user_reply(msgspec.structs.replace(record, name=name)))
            elif record:
                unreadable.append(name)
    return UserList(data=data, unreadable=unreadable, next_after=page[-1] if len(names) > limit else None)


async def _readable(users: UserStore, name: str) -> UserRecord | Exception | None:
    try:
        return await users.read(name)
    except (CorruptUserRecord, InvalidUserName) as error:
        return error


def _usage_reply(name: str, used: Usage) -> UsageReply:
    limits = used.limits
    return UsageReply(
        user=name,
        requests=_window(limits.requests_per_minute, used.requests_used),
        tokens=_window(limits.tokens_per_minute, used.tokens_used),
        parallel=_parallel(limits.max_parallel, used.parallel),
        quotas=[_quota(one) for one in used.quotas] or None,
    )


def _quota(state: QuotaState) -> QuotaUsage:
    return QuotaUsage(
        scope=state.scope,
        period=state.period,
        kind=state.kind,
        limit=state.limit,
        used=state.used,
        remaining=max(0, state.limit - state.used),
        returns_at=state.returns_at_seconds,
    )


def _window(limit: int, used: float) -> WindowUsage:
    spent = ceil(used)
    return WindowUsage(limit=limit, used=spent, remaining=max(limit - spent, 0))


def _parallel(limit: int, used: int) -> ParallelUsage:
    if not limit:
        return ParallelUsage(limit=None, used=None, remaining=None)
    return ParallelUsage(limit=limit, used=used, remaining=max(limit - used, 0))


def unknown_user(name: str) -> ApiError:
    return ApiError(kinds.NO_SUCH_USER, f"user {name} does not exist", param="name")
