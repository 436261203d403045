"""Settings of the topic `listeners`."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from gateway_plugin.settings.topic import MIB, Port, Topic

Transport = Literal["native", "grpcio"]


class ListenerSettings(Topic):
    """Where the plugin listens, and what it takes from Envoy."""

    env_also: ClassVar[dict[str, str]] = {"grpc_max_message_bytes": "AIBRIX_GRPC_MAX_MESSAGE_SIZE_BYTES"}

    bind_host: str = Field("0.0.0.0", description="address of all listeners; every interface, as Envoy is another pod")  # noqa: S104
    grpc_port: Port = Field(50052, description="ext_proc, access log and gRPC health; AIBrix's port")
    ops_port: Port = Field(8080, description="HTTP: /metrics, /healthz, /readyz, /debug; AIBrix's port")
    api_port: Port = Field(8090, description="HTTP: users API and /v1/models; the port of AIBrix's metadata service")
    transport: Transport = Field(
        "native", description="who carries gRPC: native, our own HTTP/2, a tenth of the CPU; grpcio, the library"
    )
    grpc_max_message_bytes: int = Field(
        65 * MIB,
        description="largest message from Envoy: 64 MiB of body, as our Envoy configuration has it, and 1 MiB",
        ge=MIB // 16,
        le=1024 * MIB,
    )
    request_memory_bytes: int = Field(
        160 * MIB,
        description="of messages from Envoy that arrive or wait, in the whole process; those above 1 MiB may use three"
        " quarters, and when they find no place within 3 s their requests are answered 503; as much again is for bodies"
        " that came compressed",
        ge=MIB,
        le=64 * 1024 * MIB,
    )

    @model_validator(mode="after")
    def _memory_holds_a_message(self) -> ListenerSettings:
        if self.request_memory_bytes * 3 // 4 < self.grpc_max_message_bytes:
            raise ValueError(
                f"listeners.request_memory_bytes = {self.request_memory_bytes}: three quarters of it must hold one"
                f" message, listeners.grpc_max_message_bytes = {self.grpc_max_message_bytes}"
            )
        return self
