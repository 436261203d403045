"""The users API: AIBrix's four calls, with its messages and statuses.

`/CreateUser` of an existing user answers 200, leaves the record as it is and echoes the request, as AIBrix does. The
fields that AIBrix does not know are shown by `users_rest` only; `/UpdateUser` keeps them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

from gateway_plugin.http.admin import admin_guard
from gateway_plugin.http.error_docs import common_errors, errors
from gateway_plugin.http.users_schema import MAX_LIMIT, Limit, Name
from gateway_plugin.openai import error_table as kinds
from gateway_plugin.openai.errors import ApiError
from ratelimit import CorruptUserRecord, UserRecord
from ratelimit.users.users import check_new_name

if TYPE_CHECKING:
    from ratelimit import UserStore


class UserName(BaseModel):
    """Names one user."""

    name: Name


class User(UserName):
    """A user and what they may spend."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "lgy", "rpm": 100, "tpm": 1000}]})

    rpm: Limit = 0
    tpm: Limit = 0


class NamedReply(BaseModel):
    """What every call answers."""

    message: str
    user: User


def users_router(store: UserStore, admin_token: str = "") -> APIRouter:
    """The four calls over a store; with an admin token, only for those who have it."""
    responses = common_errors(admin_token) | errors(400)
    router = APIRouter(tags=["AIBrix's calls"], dependencies=admin_guard(admin_token), responses=responses)

    @router.post("/CreateUser")
    async def create_user(user: User) -> NamedReply:
        check_new_name(user.name)
        created = await store.create(_record(user))
        return NamedReply(message=f"Created User: {user.name}" if created else f"User: {user.name} exists", user=user)

    @router.post("/ReadUser", responses=errors(404))
    async def read_user(request: UserName) -> NamedReply:
        record = await store.read(request.name)
        if record is None:
            raise _no_such_user("user does not exist")
        return NamedReply(message=f"User: {request.name}", user=_user(record))

    @router.post("/UpdateUser", responses=errors(404))
    async def update_user(user: User) -> NamedReply:
        if not await _update(store, user):
            raise _no_such_user(f"User: {user.name} does not exist")
        return NamedReply(message=f"Updated User: {user.name}", user=user)

    @router.post("/DeleteUser", responses=errors(404))
    async def delete_user(request: UserName) -> NamedReply:
        record = await _stored(store, request.name)
        if record is None or not await store.delete(request.name):
            raise _no_such_user(f"User: {request.name} does not exist")
        return NamedReply(message=f"Deleted User: {request.name}", user=_user(record))

    return router


async def _update(store: UserStore, user: User) -> bool:
    def change(old: UserRecord) -> UserRecord:
        return msgspec.structs.replace(old, name=user.name, rpm=user.rpm, tpm=user.tpm)

    try:
        return await store.change(user.name, change) is not None
    except CorruptUserRecord:
        return await store.update(_record(user))


async def _stored(store: UserStore, name: str) -> UserRecord | None:
    """The record under this name; one without limits where what is stored is none, for the caller to repair."""
    try:
        record = await store.read(name)
    except CorruptUserRecord:
        return UserRecord(name=name)
    return record and msgspec.structs.replace(record, name=name)


def _record(user: User) -> UserRecord:
    return UserRecord(name=user.name, rpm=user.rpm, tpm=user.tpm)


def _user(record: UserRecord) -> User:
    return User(name=record.name, rpm=min(record.rpm, MAX_LIMIT), tpm=min(record.tpm, MAX_LIMIT))


def _no_such_user(message: str) -> ApiError:
    return ApiError(kinds.NO_SUCH_USER, message)
