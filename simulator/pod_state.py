"""One running pod as its HTTP handlers see it: identity, adapters, and the way from a prompt to engine requests."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from simulator.faults import Faults
from simulator.kept import KeptResponses
from simulator.openai_requests import EngineError, Generation
from simulator.openai_shapes import Answer, AnswerChoice
from simulator.sequence import EngineRequest, FinishReason
from simulator.tokens import WORDS, block_hashes, count_tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from simulator.config import EngineConfig, SimulatedPod
    from simulator.driver import EngineDriver, TokenStream
    from simulator.faults import SleepState


class PodState:
    def __init__(
        self,
        pod: SimulatedPod,
        config: EngineConfig,
        driver: EngineDriver,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
    ) -> None:
        self.pod = pod
        self.config = config
        self.driver = driver
        self.wall_clock = wall_clock
        self.adapters: dict[str, str] = {name: f"/adapters/{name}" for name in pod.adapters}  # name -> path
        self.last_headers: Mapping[str, str] = {}
        self.faults = Faults()
        self.sleep_state: SleepState = "awake"
        self.kept_responses = KeptResponses()
        self._clock = clock
        self._ready_at = clock() + config.startup_seconds
        self._rng = random.Random(config.seed)

    @property
    def is_ready(self) -> bool:
        return self._clock() >= self._ready_at and not self.faults.loading

    def served_model(self, model: str | None) -> str:
        """The model or adapter a request names; the base model when it names none, as in vLLM."""
        if not model:
            return self.pod.model
        if model != self.pod.model and model not in self.adapters:
            raise EngineError(f"The model `{model}` does not exist.", status=404, kind="NotFoundError", param="model")
        return model

    def generate(self, generation: Generation) -> tuple[Answer, TokenStream, list[list[str]]]:
        """Start answering; the lists are the words to come, by choice."""
        model = self.served_model(generation.model)
        for prompt in generation.prompts:
            self.check_length(prompt, generation.max_tokens or 0)
        requests: list[EngineRequest] = []
        words: list[list[str]] = []
        for prompt in (prompt for prompt in generation.prompts for _ in range(generation.choices)):
            output_tokens, reason = self._output_length(generation, count_tokens(prompt))
            words.append(self._rng.choices(WORDS, k=output_tokens))
            requests.append(self._request(model, prompt, "".join(words[-1]), output_tokens, reason))
        stream = self.driver.open(requests)
        answer = Answer(
            key=f"{self._rng.getrandbits(128):032x}",
            model=model,
            created=int(self.wall_clock()),
            generation=generation,
            sequences=stream.sequences,
            choices=[AnswerChoice() for _ in requests],
        )
        return answer, stream, words

    def prefill(self, model: str | None, prompts: list[bytes]) -> TokenStream:
        """Only read the prompts, as for embeddings and scores."""
        model = self.served_model(model)
        for prompt in prompts:
            self.check_length(prompt, 0)
        return self.driver.open([self._request(model, prompt, "", 0, "stop") for prompt in prompts])

    def check_length(self, prompt: bytes, max_tokens: int) -> None:
        tokens, limit = count_tokens(prompt), self.config.max_model_len
        if tokens >= limit or tokens + max_tokens > limit:
            raise EngineError(
                f"the context holds {limit} tokens: {tokens} of prompt and {max_tokens} of answer do not fit"
            )

    def _output_length(self, generation: Generation, prompt_tokens: int) -> tuple[int, FinishReason]:
        """The model ends by itself after a drawn number of tokens, unless a limit comes first."""
        limit = generation.max_tokens or self.config.max_model_len - prompt_tokens
        natural = self._rng.randint(self.config.output_tokens_min, self.config.output_tokens_max)
        natural = max(natural, generation.min_tokens)
        if generation.ignore_eos or natural > limit:
            return limit, "length"
        return natural, "stop"

    def _request(self, model: str, prompt: bytes, text: str, output_tokens: int, reason: FinishReason) -> EngineRequest:
        return EngineRequest(
            prompt_tokens=count_tokens(prompt),
            output_tokens=output_tokens,
            block_hashes=block_hashes(prompt + text.encode(), self.config.block_tokens, model),
            finish_reason=reason,
            adapter=None if model == self.pod.model else model,
        )
