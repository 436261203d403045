"""Answers whose streams have typed events: OpenAI's `/v1/responses` and Anthropic's `/v1/messages`.

Neither ends with `[DONE]`: the last event is `response.completed` or `message_stop`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.openai_shapes import sse

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulator.openai_requests import EngineError
    from simulator.openai_shapes import Answer, Json


def messages_error_body(error: EngineError) -> Json:
    """Errors of `/v1/messages`, as vLLM translates them for Anthropic's clients."""
    return {"type": "error", "error": {"type": error.kind, "message": error.message}}


class ResponsesShape:
    def __init__(self, keep: Callable[[Answer, Json], None] = lambda answer, response: None) -> None:
        """`keep` gets the response when it is complete."""
        self._sequence_number = 0
        self._keep = keep

    def opening(self, answer: Answer) -> list[bytes]:
        started = self._response(answer, "in_progress", [])
        item = self._item(answer, "in_progress", [])
        return [
            self._event("response.created", response=started),
            self._event("response.in_progress", response=started),
            self._event("response.output_item.added", output_index=0, item=item),
            self._event("response.content_part.added", **self._place(answer), part=self._part("")),
        ]

    def token(self, answer: Answer, index: int) -> bytes:
        word = answer.choices[index].words[-1]
        return self._event("response.output_text.delta", **self._place(answer), delta=word, logprobs=[])

    def closing(self, answer: Answer) -> list[bytes]:
        text = answer.choices[0].text
        done = self.whole(answer)
        item = self._item(answer, "completed", [self._part(text)])
        return [
            self._event("response.output_text.done", **self._place(answer), text=text, logprobs=[]),
            self._event("response.content_part.done", **self._place(answer), part=self._part(text)),
            self._event("response.output_item.done", output_index=0, item=item),
            self._event("response.completed", response=done),
        ]

    def whole(self, answer: Answer) -> Json:
        item = self._item(answer, "completed", [self._part(answer.choices[0].text)])
        truncated = answer.choices[0].finish_reason == "length"
        usage = {
            "input_tokens": answer.prompt_tokens,
            "input_tokens_details": {"cached_tokens": answer.cached_tokens},
            "output_tokens": answer.completion_tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": answer.prompt_tokens + answer.completion_tokens,
        }
        response = self._response(answer, "incomplete" if truncated else "completed", [item]) | {"usage": usage}
        if truncated:
            response["incomplete_details"] = {"reason": "max_output_tokens"}
        self._keep(answer, response)
        return response

    def queued(self, answer: Answer) -> Json:
        """The response before its first token."""
        return self._response(answer, "queued", [])

    def _event(self, kind: str, **fields: object) -> bytes:
        data: Json = {"type": kind, "sequence_number": self._sequence_number, **fields}
        self._sequence_number += 1
        return sse(data, kind)

    def _place(self, answer: Answer) -> Json:
        return {"item_id": f"msg_{answer.key}", "output_index": 0, "content_index": 0}

    def _part(self, text: str) -> Json:
        return {"type": "output_text", "text": text, "annotations": []}

    def _item(self, answer: Answer, status: str, content: list[Json]) -> Json:
        return {
            "id": f"msg_{answer.key}",
            "type": "message",
            "role": "assistant",
            "status": status,
            "content": content,
        }

    def _response(self, answer: Answer, status: str, output: list[Json]) -> Json:
        return {
            "id": answer.generation.response_id or f"resp_{answer.key}",
            "object": "response",
            "created_at": answer.created,
            "status": status,
            "model": answer.model,
            "output": output,
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
            "previous_response_id": answer.generation.previous_response_id or None,
            "usage": None,
        }


class MessagesShape:
    def opening(self, answer: Answer) -> list[bytes]:
        message = self._message(answer, [], None) | {
            "usage": {"input_tokens": answer.prompt_tokens, "output_tokens": 0}
        }
        block = {"type": "text", "text": ""}
        return [
            self._event("message_start", message=message),
            self._event("content_block_start", index=0, content_block=block),
        ]

    def token(self, answer: Answer, index: int) -> bytes:
        delta = {"type": "text_delta", "text": answer.choices[index].words[-1]}
        return self._event("content_block_delta", index=0, delta=delta)

    def closing(self, answer: Answer) -> list[bytes]:
        delta = {"stop_reason": self._stop_reason(answer), "stop_sequence": None}
        return [
            self._event("content_block_stop", index=0),
            self._event("message_delta", delta=delta, usage=self._usage(answer)),
            self._event("message_stop"),
        ]

    def whole(self, answer: Answer) -> Json:
        content: list[Json] = [{"type": "text", "text": answer.choices[0].text}]
        return self._message(answer, content, self._stop_reason(answer)) | {"usage": self._usage(answer)}

    def _event(self, kind: str, **fields: object) -> bytes:
        return sse({"type": kind, **fields}, kind)

    def _usage(self, answer: Answer) -> Json:
        return {"input_tokens": answer.prompt_tokens, "output_tokens": answer.completion_tokens}

    def _stop_reason(self, answer: Answer) -> str:
        return "max_tokens" if answer.choices[0].finish_reason == "length" else "end_turn"

    def _message(self, answer: Answer, content: list[Json], stop_reason: str | None) -> Json:
        return {
            "id": f"msg_{answer.key}",
            "type": "message",
            "role": "assistant",
            "model": answer.model,
            "content": content,
            "stop_reason": stop_reason,
            "stop_sequence": None,
        }
