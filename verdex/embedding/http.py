"""HTTP as embedders speak it: a question, an answer of a known shape, and anything else as an error of verdex."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from typing import Final, TypeVar

import httpx2
from pydantic import BaseModel, SecretStr, ValidationError

from verdex.contracts import EmbeddingModel
from verdex.errors import EmbedderRefused, EmbedderUnavailable
from verdex.telemetry.redaction import keep_secret

CONNECT_SECONDS: Final = 5.0
ANSWER_SECONDS: Final = 120.0
"""For all of it: a model without a graphics card takes long for a full request, and is loaded before its first."""

_LOOPBACK: Final = ("localhost", "127.0.0.1", "[::1]")
_PASSING: Final = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})
_MAX_REASON: Final = 200

Answer = TypeVar("Answer", bound=BaseModel)
Advice = Mapping[int, str]
"""What to do about a status."""


class Endpoint:
    """The server of a model."""

    def __init__(self, model: EmbeddingModel, client: httpx2.AsyncClient) -> None:
        """`client` is closed by its owner."""
        self.model = model
        self._client = client

    async def post(self, path: str, question: Mapping[str, object], shape: type[Answer], advice: Advice) -> Answer:
        """What it answers to `question`.

        Raises:
            EmbedderUnavailable: it cannot be reached, is too slow, or says that it has trouble or too much to do.
            EmbedderRefused: it refuses, or answers in another shape.
        """
        response = await self._sent(path, question)
        if not response.is_success:
            raise self._failure(response, advice)
        try:
            return shape.model_validate_json(response.content, strict=True)
        except ValidationError as error:
            wrong = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, wrong["loc"])) or "answer"
            raise EmbedderRefused(
                f"embedder {self.model} answers something other than vectors ({where}: {wrong['msg']}): "
                "is it the URL of such an embedder?"
            ) from None

    async def _sent(self, path: str, question: Mapping[str, object]) -> httpx2.Response:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await self._client.post(f"{self.model.url}{path}", json=question)
        except (
            httpx2.UnsupportedProtocol,
            httpx2.LocalProtocolError,
            httpx2.DecodingError,
            httpx2.InvalidURL,
        ) as error:
            raise EmbedderRefused(f"embedder {self.model} cannot be asked: {_cause(error)}") from error
        except (httpx2.TransportError, TimeoutError) as error:
            raise EmbedderUnavailable(f"embedder {self.model} is not available: {_cause(error)}") from error

    def _failure(self, response: httpx2.Response, advice: Advice) -> EmbedderUnavailable | EmbedderRefused:
        status = response.status_code
        told = ": ".join(filter(None, [f"{status} {response.reason_phrase}".strip(), _reason(response)]))
        if status in _PASSING or (status >= 500 and status != HTTPStatus.NOT_IMPLEMENTED):
            return EmbedderUnavailable(f"embedder {self.model} is not available: {told}")
        hint = f" ({advice[status]})" if status in advice else ""
        return EmbedderRefused(f"embedder {self.model} refuses: {told}{hint}")


@asynccontextmanager
async def connected(model: EmbeddingModel, api_key: SecretStr | None) -> AsyncIterator[Endpoint]:
    """The server of a model; its connections are kept as long as the block lasts. Nothing is sent yet."""
    headers = {}
    if api_key is not None:
        keep_secret(api_key.get_secret_value())  # a server may repeat it where it refuses it
        headers["Authorization"] = f"Bearer {api_key.get_secret_value()}"
    async with httpx2.AsyncClient(
        headers=headers,
        timeout=httpx2.Timeout(None, connect=CONNECT_SECONDS),
        mounts=dict.fromkeys((f"all://{host}" for host in _LOOPBACK), None),  # no proxy, whatever the environment says
    ) as client:
        yield Endpoint(model, client)


def _cause(error: BaseException) -> str:
    """The operating system's words where there are any: what is raised above them only says that it failed."""
    match error:
        case httpx2.ConnectTimeout():
            return f"no connection in {CONNECT_SECONDS:g} s"
        case TimeoutError():
            return f"no answer in {ANSWER_SECONDS:g} s"
        case httpx2.NetworkError():
            return _one_line(str(_of_the_system(error) or error) or type(error).__name__)
        case _:
            return _one_line(str(error) or type(error).__name__)


def _of_the_system(error: BaseException | None) -> BaseException | None:
    while error is not None and not (isinstance(error, OSError) and error.errno):
        inner = error.__cause__ or error.__context__
        error = error.exceptions[0] if isinstance(error, BaseExceptionGroup) else inner  # a group: one an address
    return error


def _reason(response: httpx2.Response) -> str:
    """What the server says about its refusal; Ollama and OpenAI as JSON, whatever stands before them as text."""
    with suppress(ValueError):
        match response.json():
            case {"error": {"message": str(text)}} | {"error": str(text)}:
                return _one_line(text)
    return _one_line(response.text)


def _one_line(text: str) -> str:
    printable = "".join(character if character.isprintable() else " " for character in text[: 10 * _MAX_REASON])
    words = " ".join(printable.split())
    return words if len(words) <= _MAX_REASON else f"{words[:_MAX_REASON]}…"
