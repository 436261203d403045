"""Settings of the topic `identity`."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, SecretStr, model_validator

from gateway_plugin.settings.topic import Topic, items_of

HEADER, API_KEY, BEARER = "header", "api-key", "bearer"
PROOFS = (HEADER, API_KEY, BEARER)
"""What `identity_proofs` may name."""


class IdentitySettings(Topic):
    """Who asks, and what proves it."""

    env_also: ClassVar[dict[str, str]] = {"auth_bearer_token": "AIBRIX_AUTH_BEARER_TOKEN"}

    identity_proofs: str = Field(
        "",
        description="what proves who asks, any of: header (whoever reaches Envoy is believed: for trusted networks),"
        " api-key, bearer (who carries auth_bearer_token is believed); empty: bearer with auth_bearer_token, else"
        " header, and api-key with api_keys",
    )
    trusted_hops: int = Field(
        0,
        description="proxies in front of Envoy that add to x-forwarded-for: whom they name is the source of all bounds"
        " that are per source, here and, through `envoy-config`, in Envoy",
        ge=0,
        le=16,
    )
    auth_bearer_token: SecretStr = Field(
        SecretStr(""), description="whoever carries it as `Authorization: Bearer` may name users; see identity_proofs"
    )
    api_keys: bool = Field(
        False, description="accept API keys made through the users API; or name api-key in identity_proofs"
    )
    forward_api_keys: bool = Field(False, description="let engines see API keys; otherwise the header is removed")
    anonymous: Literal["allow", "reject", "limit"] = Field(
        "allow", description="requests in nobody's name, of those who may make them: served, 401, or limited by source"
    )
    anonymous_rpm: int = Field(
        20, description="requests per minute of one source, an address or an IPv6 /64, with anonymous: limit", ge=1
    )
    admin_token: SecretStr = Field(
        SecretStr(""), description="when set, every call of the users API must carry it as `Authorization: Bearer`"
    )

    @model_validator(mode="after")
    def _fit_together(self) -> IdentitySettings:
        proofs, told = self.proofs, f"identity.identity_proofs = {self.identity_proofs!r}"
        unknown, has_token = proofs - set(PROOFS), bool(self.auth_bearer_token.get_secret_value())
        if unknown:
            raise ValueError(f"{told}: {min(unknown)!r} is none; allowed: {', '.join(PROOFS)}")
        if (BEARER in proofs) != has_token:
            cause = "bearer needs auth_bearer_token" if BEARER in proofs else "nobody asks for auth_bearer_token"
            raise ValueError(f"{told}: {cause}; name bearer and set the token, or neither")
        if self.api_keys and API_KEY not in proofs:
            raise ValueError(f"{told}: api_keys = true needs api-key among them")
        if self.anonymous == "limit" and proofs == {API_KEY}:
            raise ValueError("identity.anonymous = 'limit': with identity_proofs = 'api-key' nobody is anonymous")
        return self

    @property
    def proofs(self) -> frozenset[str]:
        """The parts of `identity_proofs`, or what the older settings say."""
        if told := items_of(self.identity_proofs):
            return frozenset(told)
        first = BEARER if self.auth_bearer_token.get_secret_value() else HEADER
        return frozenset({first, API_KEY} if self.api_keys else {first})
