"""A server that embeds with a real model, by the protocols of Ollama and of OpenAI; and fails when it is told to."""

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, Literal

from model2vec import StaticModel

MODELS: Final = ("wordllama", "nomic-embed-text", "nomic-embed-text:v1.5")
"""Names under which the one model is served."""

_MODEL: Final = threading.Lock()
"""A tokenizer belongs to one thread at a time."""

Fault = Literal[
    "hang", "trickle", "close", "not json", "other json", "too few", "shorter", "uneven", "nan", "zero", "same index"
]


class EmbeddingServer(ThreadingHTTPServer):
    """Counts what it is asked for. `fault` is a status to answer with, or what else goes wrong."""

    def __init__(self, directory: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.openai_url = f"{self.url}/v1"
        self.api_key: str | None = None
        """What OpenAI's protocol asks for."""
        self.fault: Fault | int | None = None
        self.asked: list[list[str]] = []
        """The texts of each request that was answered with vectors."""
        self.received: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        """Path, headers (in small letters) and body of each request."""
        self.at_once = 0
        """Most requests that were open together."""
        self.open = 0
        self.go_on = threading.Event()
        """Until then, a request that hangs does."""
        self.lock = threading.Lock()
        self._directory = directory

    @property
    def texts(self) -> list[str]:
        """All texts that were embedded."""
        return [text for texts in self.asked for text in texts]

    def vectors(self, texts: Sequence[str]) -> list[list[float]]:
        with self.lock:
            self.asked.append([*texts])
        return _spoilt(_encode(self._directory, texts), self.fault)

    def handle_error(self, request: object, client_address: object) -> None:
        """Who asked has gone; that is what some tests are about."""


class _Handler(BaseHTTPRequestHandler):
    server: EmbeddingServer
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            headers = {name.lower(): value for name, value in self.headers.items()}
            self.server.received.append((self.path, headers, question))
            self.server.open += 1
            self.server.at_once = max(self.server.at_once, self.server.open)
        try:
            self._answer(question)
        finally:
            with self.server.lock:
                self.server.open -= 1

    def _answer(self, question: dict[str, Any]) -> None:
        match self.server.fault:
            case int(status):
                self._send(status, {"error": {"message": "told to fail"}})
            case "hang":
                self.server.go_on.wait()
                self._embed(question)
            case "trickle":
                self.send_response(200)
                self.send_header("Content-Length", "1000000")
                self.end_headers()
                while not self.server.go_on.wait(0.005):
                    self.wfile.write(b" ")
                self.close_connection = True
            case "close":
                self.close_connection = True
            case "not json":
                self._send(200, b"<html>\n<title>Welcome</title>\n</html>")
            case "other json":
                self._send(200, {"models": []})
            case _:
                self._embed(question)

    def _embed(self, question: dict[str, Any]) -> None:
        key = self.server.api_key
        known = question["model"] in MODELS
        match self.path:
            case "/api/embed" if known:
                self._send(200, {"model": question["model"], "embeddings": self.server.vectors(question["input"])})
            case "/api/embed":
                self._send(404, {"error": f'model "{question["model"]}" not found, try pulling it first'})
            case "/v1/embeddings" if key and self.headers["Authorization"] != f"Bearer {key}":
                self._send(401, {"error": {"message": f"Incorrect API key: {self.headers['Authorization']}"}})
            case "/v1/embeddings" if known:
                self._send(200, {"object": "list", "data": self._numbered(question["input"])})
            case "/v1/embeddings":
                self._send(404, {"error": {"message": f"The model `{question['model']}` does not exist"}})
            case _:
                self._send(404, b"404 page not found")

    def _numbered(self, texts: Sequence[str]) -> list[dict[str, object]]:
        """The last one first, as the protocol allows."""
        step = 0 if self.server.fault == "same index" else 1
        vectors = enumerate(self.server.vectors(texts))
        return [{"object": "embedding", "index": step * n, "embedding": v} for n, v in vectors][::-1]

    def _send(self, status: int, answer: object) -> None:
        body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


def _encode(directory: Path, texts: Sequence[str]) -> list[list[float]]:
    with _MODEL:
        vectors: list[list[float]] = _loaded(directory).encode(texts).tolist()
    return vectors


@cache
def _loaded(directory: Path) -> StaticModel:
    return StaticModel.from_pretrained(directory, max_length=None)


def _spoilt(vectors: list[list[float]], fault: object) -> list[list[float]]:
    last = vectors[-1]
    match fault:
        case "too few":
            return vectors[:-1]
        case "shorter":
            return [vector[:-1] for vector in vectors]
        case "uneven":
            return [*vectors[:-1], last[:-1]]
        case "nan":
            return [*vectors[:-1], [float("nan"), *last[1:]]]
        case "zero":
            return [*vectors[:-1], [0.0] * len(last)]
        case _:
            return vectors


@contextmanager
def serving(directory: Path) -> Iterator[EmbeddingServer]:
    """A server that runs, with the model in `directory`."""
    with EmbeddingServer(directory) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.go_on.set()
            server.shutdown()
            thread.join()
