"""An engine that wants a key gets its own, and nothing of the client's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway_plugin.tools.chain.stack import StackOptions

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.chain.conftest import OpenGateway

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.envoy]


async def test_engines_get_their_own_key(open_gateway: OpenGateway, tmp_path: Path):
    file = tmp_path / "keys.yaml"
    file.write_text("own: sk-own\n")
    environment = {
        "GATEWAY_API_KEYS": "true",
        "GATEWAY_ENGINE_API_KEY": "sk-default",
        "GATEWAY_ENGINE_API_KEYS_FILE": str(file),
    }
    options = StackOptions({"m": 1, "own": 1}, redis=False, speed=20, plugin_environment=environment)
    async with open_gateway(options) as gateway:
        await gateway.create_user("lgy", rpm=100)
        answer = await gateway.http.post(f"{gateway.stack.api_url}/v1/users/lgy/keys")
        ours = answer.json()["secret"]
        for model, expected in (("m", "sk-default"), ("own", "sk-own")):
            body = {"model": model, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 2}
            for sent in (
                {"authorization": f"Bearer {ours}"},
                {"authorization": "Bearer sk-clients"},
                {"x_api_key": ours},
                {"x_api_key": "sk-clients", "api_key": "sk-clients"},
                {"authorization": "Bearer sk-clients", "model": model, "routing_strategy": "random"},
                {},
            ):
                answer = await gateway.post(body, **sent)
                assert answer.status_code == 200, answer.text
                seen = await gateway.last_headers(answer.headers["target-pod"])
                assert seen["authorization"] == f"Bearer {expected}"
                assert "sk-clients" not in str(seen)
                assert ours not in str(seen)
