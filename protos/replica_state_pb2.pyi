from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ReplicaState(_message.Message):
    __slots__ = ("sequence", "pods")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    PODS_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    pods: _containers.RepeatedCompositeFieldContainer[PodWork]
    def __init__(self, sequence: _Optional[int] = ..., pods: _Optional[_Iterable[_Union[PodWork, _Mapping]]] = ...) -> None: ...

class PodWork(_message.Message):
    __slots__ = ("address", "uid_hash", "inflight_requests", "inflight_prompt_tokens", "inflight_output_tokens", "requests_total", "prefill_booked_tokens", "prefill_backlog_tokens")
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    UID_HASH_FIELD_NUMBER: _ClassVar[int]
    INFLIGHT_REQUESTS_FIELD_NUMBER: _ClassVar[int]
    INFLIGHT_PROMPT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    INFLIGHT_OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    REQUESTS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    PREFILL_BOOKED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    PREFILL_BACKLOG_TOKENS_FIELD_NUMBER: _ClassVar[int]
    address: str
    uid_hash: int
    inflight_requests: int
    inflight_prompt_tokens: float
    inflight_output_tokens: float
    requests_total: int
    prefill_booked_tokens: float
    prefill_backlog_tokens: float
    def __init__(self, address: _Optional[str] = ..., uid_hash: _Optional[int] = ..., inflight_requests: _Optional[int] = ..., inflight_prompt_tokens: _Optional[float] = ..., inflight_output_tokens: _Optional[float] = ..., requests_total: _Optional[int] = ..., prefill_booked_tokens: _Optional[float] = ..., prefill_backlog_tokens: _Optional[float] = ...) -> None: ...

class ForwardedOutcome(_message.Message):
    __slots__ = ("charge_id", "model", "pod_address", "succeeded", "prompt_tokens", "cached_tokens", "output_tokens", "ttft_seconds")
    CHARGE_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    POD_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    SUCCEEDED_FIELD_NUMBER: _ClassVar[int]
    PROMPT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    CACHED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    TTFT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    charge_id: str
    model: str
    pod_address: str
    succeeded: bool
    prompt_tokens: int
    cached_tokens: int
    output_tokens: int
    ttft_seconds: float
    def __init__(self, charge_id: _Optional[str] = ..., model: _Optional[str] = ..., pod_address: _Optional[str] = ..., succeeded: _Optional[bool] = ..., prompt_tokens: _Optional[int] = ..., cached_tokens: _Optional[int] = ..., output_tokens: _Optional[int] = ..., ttft_seconds: _Optional[float] = ...) -> None: ...

class PromptNews(_message.Message):
    __slots__ = ("pods",)
    PODS_FIELD_NUMBER: _ClassVar[int]
    pods: _containers.RepeatedCompositeFieldContainer[PodPrompts]
    def __init__(self, pods: _Optional[_Iterable[_Union[PodPrompts, _Mapping]]] = ...) -> None: ...

class PodPrompts(_message.Message):
    __slots__ = ("address", "uid_hash", "prompts")
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    UID_HASH_FIELD_NUMBER: _ClassVar[int]
    PROMPTS_FIELD_NUMBER: _ClassVar[int]
    address: str
    uid_hash: int
    prompts: _containers.RepeatedCompositeFieldContainer[Prompt]
    def __init__(self, address: _Optional[str] = ..., uid_hash: _Optional[int] = ..., prompts: _Optional[_Iterable[_Union[Prompt, _Mapping]]] = ...) -> None: ...

class Prompt(_message.Message):
    __slots__ = ("blocks",)
    BLOCKS_FIELD_NUMBER: _ClassVar[int]
    blocks: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, blocks: _Optional[_Iterable[int]] = ...) -> None: ...
