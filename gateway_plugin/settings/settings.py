"""Every setting of the plugin by topic; a topic's fields, their units and reasons stand in its own module."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, model_validator

from gateway_plugin.settings.endpoint_settings import EndpointSettings
from gateway_plugin.settings.engine_settings import EngineSettings
from gateway_plugin.settings.identity_settings import IdentitySettings
from gateway_plugin.settings.listener_settings import ListenerSettings
from gateway_plugin.settings.log_settings import LogSettings
from gateway_plugin.settings.model_settings import ModelSettings
from gateway_plugin.settings.operator_settings import OperatorSettings
from gateway_plugin.settings.overload_settings import OverloadSettings
from gateway_plugin.settings.peer_settings import PeerSettings
from gateway_plugin.settings.pod_settings import PodSettings
from gateway_plugin.settings.process_settings import ProcessSettings
from gateway_plugin.settings.redis_settings import RedisSettings
from gateway_plugin.settings.routing_settings import RoutingSettings
from gateway_plugin.settings.tls_settings import TlsSettings
from gateway_plugin.settings.tracing_settings import TracingSettings
from gateway_plugin.settings.usage_settings import UsageSettings
from gateway_plugin.settings.user_settings import UserSettings
from gateway_plugin.settings.webhook_settings import WebhookSettings


class Settings(BaseModel):
    """Effective configuration of one plugin process, in the shape of its YAML file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    listeners: ListenerSettings = ListenerSettings()
    tls: TlsSettings = TlsSettings()
    process: ProcessSettings = ProcessSettings()
    logs: LogSettings = LogSettings()
    operators: OperatorSettings = OperatorSettings()
    tracing: TracingSettings = TracingSettings()
    overload: OverloadSettings = OverloadSettings()
    endpoints: EndpointSettings = EndpointSettings()
    identity: IdentitySettings = IdentitySettings()
    users: UserSettings = UserSettings()
    usage: UsageSettings = UsageSettings()
    routing: RoutingSettings = RoutingSettings()
    pods: PodSettings = PodSettings()
    engines: EngineSettings = EngineSettings()
    models: ModelSettings = ModelSettings()
    webhooks: WebhookSettings = WebhookSettings()
    redis: RedisSettings = RedisSettings()
    peers: PeerSettings = PeerSettings()

    @model_validator(mode="after")
    def _topics_fit_together(self) -> Settings:
        upload_bytes, message_bytes = self.overload.upload_bytes, self.listeners.grpc_max_message_bytes
        if 0 < upload_bytes < 2 * message_bytes:
            raise ValueError(
                f"overload.upload_bytes = {upload_bytes}: half of it must hold one message,"
                f" listeners.grpc_max_message_bytes = {message_bytes}"
            )
        if self.models.file is not None and self.redis.effective_url:
            raise ValueError("models.file: with Redis, models are kept there; unset one of the two")
        return self
