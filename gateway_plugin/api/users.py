"""The users API: AIBrix's four calls, with its messages and statuses.

`/CreateUser` of an existing user answers 200, leaves the record as it is and echoes the request, as AIBrix does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter
from pydantic import BaseModel, Field

from gateway_plugin.openai.errors import ApiError
from ratelimit import UserRecord

if TYPE_CHECKING:
    from ratelimit import UserStore

# JSON numbers are exact in every client up to here.
_MAX_LIMIT = 2**53 - 1

Limit = Annotated[int, Field(ge=0, le=_MAX_LIMIT, description="per minute; 0 means the configured default")]


class UserName(BaseModel):
    """Names one user."""

    name: str = Field(min_length=1, max_length=256)


class User(UserName):
    """A user and what they may spend."""

    rpm: Limit = 0
    tpm: Limit = 0


class UserReply(BaseModel):
    """What every call answers."""

    message: str
    user: User


def users_router(store: UserStore) -> APIRouter:
    """The four calls over a store."""
    router = APIRouter(tags=["users"])

    @router.post("/CreateUser")
    async def create_user(user: User) -> UserReply:
        created = await store.create(_record(user))
        return UserReply(message=f"Created User: {user.name}" if created else f"User: {user.name} exists", user=user)

    @router.post("/ReadUser")
    async def read_user(request: UserName) -> UserReply:
        record = await store.read(request.name)
        if record is None:
            raise _no_such_user("user does not exist")
        return UserReply(message=f"User: {request.name}", user=_user(record))

    @router.post("/UpdateUser")
    async def update_user(user: User) -> UserReply:
        if not await store.update(_record(user)):
            raise _no_such_user(f"User: {user.name} does not exist")
        return UserReply(message=f"Updated User: {user.name}", user=user)

    @router.post("/DeleteUser")
    async def delete_user(request: UserName) -> UserReply:
        record = await store.read(request.name)
        if record is None or not await store.delete(request.name):
            raise _no_such_user(f"User: {request.name} does not exist")
        return UserReply(message=f"Deleted User: {request.name}", user=_user(record))

    return router


def _record(user: User) -> UserRecord:
    return UserRecord(name=user.name, rpm=user.rpm, tpm=user.tpm)


def _user(record: UserRecord) -> User:
    return User(name=record.name, rpm=min(record.rpm, _MAX_LIMIT), tpm=min(record.tpm, _MAX_LIMIT))


def _no_such_user(message: str) -> ApiError:
    return ApiError(404, message, reason="unknown_user")
