"""The users API's groups: what their members may spend together, beside what each may."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from gateway_plugin.http.admin import admin_guard
from gateway_plugin.http.error_docs import common_errors, errors
from gateway_plugin.http.users_schema import Limit, ModelName, Parallel, Quotas, QuotasReply, Sent, quotas_reply
from gateway_plugin.openai import error_table as kinds
from gateway_plugin.openai.errors import ApiError
from ratelimit.store.redis_groups import GroupsNotPossible
from ratelimit.users.groups import GroupRecord

if TYPE_CHECKING:
    from ratelimit import GroupStore

GROUPS = "/v1/groups"
GROUP = GROUPS + "/{name}"
_MAX_MODELS = 1000
"""That a group may be held to."""

GroupName = Annotated[str, Path(pattern=r"^[A-Za-z0-9._-]{1,64}$", examples=["research"])]


class GroupFields(Sent):
    """Limits of all members together; 0: none."""

    rpm: Limit = 0
    tpm: Limit = 0
    max_parallel: Parallel = 0
    models: list[ModelName] = Field([], max_length=_MAX_MODELS, description="as a user's; both must allow a model")
    disabled: bool = Field(False, description="every request of a member is refused")
    quotas: Quotas = Field(default_factory=Quotas)

    def changes(self) -> dict[str, Any]:
        """The fields that were sent, as those of a record."""
        sent: dict[str, Any] = {name: getattr(self, name) for name in self.model_fields_set - {"name"}}
        if "models" in sent:
            sent["models"] = tuple(sent["models"])
        if "quotas" in sent:
            sent["quotas"] = self.quotas.stored()
        return sent


class NewGroup(GroupFields):
    """A group to create."""

    name: str = Field(pattern=r"^[A-Za-z0-9._-]{1,64}$", examples=["research"])


class GroupReply(BaseModel):
    """A group; 0 means no limit."""

    name: str
    rpm: int
    tpm: int
    max_parallel: int
    models: list[str]
    disabled: bool
    quotas: QuotasReply


class GroupList(BaseModel):
    """All groups, by name."""

    object: str = "list"
    data: list[GroupReply]


def groups_router(groups: GroupStore, admin_token: str = "") -> APIRouter:
    """Everything below `/v1/groups`; with an admin token, only for those who have it."""
    router = APIRouter(tags=["groups"], dependencies=admin_guard(admin_token), responses=common_errors(admin_token))
    _add_list(router, groups)
    _add_groups(router, groups)
    return router


def _add_list(router: APIRouter, groups: GroupStore) -> None:
    @router.get(GROUPS)
    async def list_groups() -> GroupList:
        return GroupList(data=[_reply(group) for group in await groups.groups()])

    @router.post(GROUPS, status_code=201, responses=errors(400, 409))
    async def create(group: NewGroup) -> GroupReply:
        record = GroupRecord(group.name, **group.changes())
        try:
            created = await groups.create_group(record)
        except GroupsNotPossible as error:
            raise ApiError(kinds.NO_GROUPS, str(error)) from None
        if not created:
            raise ApiError(kinds.GROUP_EXISTS, f"group {group.name} exists", param="name")
        return _reply(record)


def _add_groups(router: APIRouter, groups: GroupStore) -> None:
    @router.get(GROUP, responses=errors(404))
    async def read(name: GroupName) -> GroupReply:
        group = await groups.read_group(name)
        if group is None:
            raise _unknown(name)
        return _reply(group)

    @router.patch(GROUP, responses=errors(400, 404))
    async def change(name: GroupName, changes: GroupFields) -> GroupReply:
        group = await groups.change_group(name, lambda old: msgspec.structs.replace(old, **changes.changes()))
        if group is None:
            raise _unknown(name)
        return _reply(group)

    @router.delete(GROUP, status_code=204, responses=errors(404))
    async def delete(name: GroupName) -> None:
        if not await groups.delete_group(name):
            raise _unknown(name)


def _reply(group: GroupRecord) -> GroupReply:
    fields = msgspec.structs.asdict(group)
    return GroupReply(**{**fields, "models": list(group.models), "quotas": quotas_reply(group.quotas)})


def _unknown(name: str) -> ApiError:
    return ApiError(kinds.NO_SUCH_GROUP, f"group {name} does not exist", param="name")
