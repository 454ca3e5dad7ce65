"""A server on loopback that speaks chat completions and answers from the simulator's truth.

It is for tests and benchmarks and no vision-language model: it knows the images that it was given
beforehand, and nothing else. Chosen rates of wrong, unusable, late and refused answers let the real
client meet everything that a real server does.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Annotated, Any

import numpy as np
import typer

from kalm_sim.vlm_answers import Rates, Said, UnknownQuestionError, answer
from kalm_sim.vlm_truth import TruthTable, demonstration_truth

MODEL = "simulator-truth-for-tests"


@dataclass(frozen=True)
class Faults:
    """What goes wrong before an answer is thought of; rates in [0, 1].

    Attributes:
        limited: status 429.
        failing: status 500.
        stalled: nothing is sent for `stall_s`.
        retry_after: header of 429, as text; empty sends none.
        stall_s: how long a stalled request hangs [s].
        key: wanted from the client; empty wants none. A wrong one is echoed, as servers do.
        structured: False refuses `response_format`, as small servers do.
    """

    limited: float = 0.0
    failing: float = 0.0
    stalled: float = 0.0
    retry_after: str = ""
    stall_s: float = 5.0
    key: str = ""
    structured: bool = True


class VlmServer:
    """The server; a context manager that runs it in threads of its own.

    Args:
        table: the images that it knows.
        rates: how often its answers are wrong.
        faults: how often it does not answer.
        seed: of all chance.
        port: 0 takes a free one.

    Attributes:
        said: every answer, in order.
        requests: how many came, answered or not.
        headers: of the last one.
    """

    def __init__(
        self,
        table: TruthTable,
        rates: Rates | None = None,
        faults: Faults | None = None,
        *,
        seed: int = 0,
        port: int = 0,
    ) -> None:
        self.table = table
        self.rates = rates or Rates()
        self.faults = faults or Faults()
        self.said: list[Said] = []
        self.headers: dict[str, str] = {}
        self.requests = 0
        self._rng = np.random.default_rng(seed)
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._http = ThreadingHTTPServer(("127.0.0.1", port), _handler(self))
        self._http.daemon_threads = True
        self._thread = threading.Thread(
            target=self._http.serve_forever, args=(0.05,), name="test VLM", daemon=True
        )

    @property
    def url(self) -> str:
        """Base URL for the client."""
        return f"http://127.0.0.1:{self._http.server_port}/v1"

    def restart(self, rates: Rates, seed: int) -> None:
        """Answer from now on with other rates and a fresh source of chance."""
        with self._lock:
            self.rates, self._rng, self.said, self.requests = (
                rates,
                np.random.default_rng(seed),
                [],
                0,
            )

    def respond(self, authorization: str, body: dict[str, Any]) -> _Response:
        """Return what a request is answered with."""
        with self._lock:
            self.requests += 1
            f, chance = self.faults, float(self._rng.random())
            if f.key and authorization != f"Bearer {f.key}":
                return _error(401, f"Incorrect API key provided: {authorization}.")
            if not f.structured and "response_format" in body:
                return _error(400, "Unrecognized request argument supplied: response_format")
            if chance < f.limited:
                headers = {"Retry-After": f.retry_after} if f.retry_after else {}
                return _Response(429, _error(429, "Rate limit reached.").body, headers)
            if chance < f.limited + f.failing:
                return _error(500, "The server had an error.")
            if chance >= f.limited + f.failing + f.stalled:
                return self._answer(body)
        self._closing.wait(self.faults.stall_s)
        return _error(503, "The server was too slow.")

    def _answer(self, body: dict[str, Any]) -> _Response:
        try:
            said = answer(body["messages"], self.table, self.rates, self._rng)
        except (UnknownQuestionError, KeyError, TypeError, ValueError) as error:
            return _error(400, f"The test VLM does not understand this: {error}")
        self.said.append(said)
        length = len(json.dumps(body["messages"]))
        message = {"role": "assistant", "content": said.text, "refusal": said.refusal or None}
        return _Response(
            200,
            {
                "id": f"test-{self.requests}",
                "object": "chat.completion",
                "created": 0,
                "model": MODEL,
                "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
                "usage": {
                    "prompt_tokens": length // 1000,
                    "completion_tokens": len(said.text) // 4,
                    "total_tokens": length // 1000 + len(said.text) // 4,
                },
            },
        )

    def __enter__(self) -> VlmServer:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closing.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def wait(self) -> None:
        """Serve until interrupted."""
        self._thread.join()


@dataclass(frozen=True)
class _Response:
    status: int
    body: dict[str, Any]
    headers: dict[str, str] | None = None


def _error(status: int, text: str) -> _Response:
    return _Response(status, {"error": {"message": text, "type": "test", "code": None}})


def _handler(server: VlmServer) -> type[BaseHTTPRequestHandler]:
    """Return the handler class of a server."""

    class Handler(BaseHTTPRequestHandler):
        """Chat completions, and the list of models."""

        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if self.path == "/v1/models":
                self._send(_Response(200, {"object": "list", "data": [{"id": MODEL}]}))
            else:
                self._send(_error(404, f"There is no {self.path}."))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.path != "/v1/chat/completions":
                self._send(_error(404, f"There is no {self.path}; the base URL ends in /v1."))
                return
            try:
                request = json.loads(body)
            except ValueError as error:
                self._send(_error(400, f"This is no JSON: {error}"))
                return
            server.headers = dict(self.headers)
            self._send(server.respond(self.headers.get("Authorization", ""), request))

        def log_message(self, format: str, *args: object) -> None:
            """Write nothing: requests hold keys."""

        def _send(self, response: _Response) -> None:
            content = json.dumps(response.body).encode()
            try:
                self.send_response(response.status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                for name, value in (response.headers or {}).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True  # the client gave up waiting

    return Handler


def main(  # noqa: PLR0917 - options of a command
    scenes: Annotated[int, typer.Option(min=1, help="synthetic demonstrations that it knows")] = 10,
    task: Annotated[str, typer.Option(help="drawer, handle or pour")] = "drawer",
    port: Annotated[int, typer.Option(help="0 takes a free one")] = 8808,
    wrong: Annotated[float, typer.Option(min=0, max=1, help="share of wrong answers")] = 0.0,
    malformed: Annotated[float, typer.Option(min=0, max=1, help="share of unusable ones")] = 0.0,
    seed: Annotated[int, typer.Option(min=0, help="of all chance")] = 0,
) -> None:
    """Answer as a VLM would, from the simulator's truth: for tests and benchmarks only.

    It knows the first images of the demonstrations that kalm_sim.synthetic makes from the seeds 0
    to N - 1. Example, with a client that sends no key:

    python -m kalm_sim.vlm_server --scenes 10 --wrong 0.4 --port 8808

    and in the settings: vlm.base_url http://127.0.0.1:8808/v1, vlm.key_variable "".
    """
    from kalm_sim.scene import draw_scene
    from kalm_sim.synthetic import make_demonstration

    table = TruthTable()
    for index in range(scenes):
        demonstration, _ = make_demonstration(index, task=task)
        table.add(demonstration_truth(demonstration, draw_scene(index, task=task)))
    rates = Rates(wrong, wrong, wrong, malformed)
    with VlmServer(table, rates, seed=seed, port=port) as server:
        typer.echo(f"test VLM, not for robots, at {server.url}; it knows {scenes} images")
        try:
            server.wait()
        except KeyboardInterrupt:
            typer.echo("stopped")


if __name__ == "__main__":
    typer.run(main)
