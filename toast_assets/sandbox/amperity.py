"""The stand-in for Amperity: the streaming API, tokens, the guide's notice, and the control plane on the same port.

Streaming, judged in this order (judgement): method (405), Content-Length (411), size (413), tenant (400,
403), token (401), content type (400), rate (429), body (400).

- ``X-Amperity-Tenant`` is required [doc]: missing is a 400, another tenant a 403 (judgements). The token is a
  known bearer token that has not expired, else 401 [doc].
- ``Content-Length`` is required, else 411 [doc]. More than 1,000,000 bytes is a 413: the stricter of two
  pages [conflict].
- The body is exactly one JSON object; arrays and NDJSON are a 400 [doc].
- 1000 requests a second and tenant, counted in fixed slices (the number [doc], the slices a judgement), else 429.
- 202 with an empty body is "accepted, not loaded", also for a stream that does not exist [doc]; the sandbox keeps those
  records apart, in ``dropped``. An id that does not begin with ``is-`` is treated alike (judgement: the API promises
  nothing, and a silent loss is the harder case).
- ``X-Request-Id`` is echoed [doc]. Error bodies are undocumented; here they have the control plane's form (judgement).
"""

from __future__ import annotations

import hmac
from itertools import count
from typing import Any
from urllib.parse import parse_qs

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from toast_assets.sandbox.amperity_books import AmperityBooks, AmperityCall, Notice
from toast_assets.sandbox.amperity_control import ControlPlane, ControlRefusal
from toast_assets.sandbox.calls import Call
from toast_assets.sandbox.config import SandboxConfig
from toast_assets.sandbox.faults import Faults
from toast_assets.sandbox.limits import Limit
from toast_assets.sandbox.service import Answer, Service

_NOTICE_TEXTS = ("source", "data_type", "s3_location", "tenant_id")
_NOTICE_METADATA = ("total_records", "fetch_date", "start_date", "end_date")


class AmperityService(Service):
    """Amperity's HTTP APIs, writing into ``books``."""

    name = "amperity"

    def __init__(self, config: SandboxConfig, books: AmperityBooks, faults: Faults) -> None:
        super().__init__(config, faults)
        self.books = books
        self.control = ControlPlane(config, books)
        self._tokens: dict[str, float] = {config.amperity_api_key: float("inf")}
        self._streams = frozenset(config.streams)
        self._limit = Limit("stream", config.records_per_second, 1)
        self._issued = count(1)
        self._traces = count(1)

    def routes(self) -> list[Route]:
        """Streaming, tokens, the guide's notice, and the control plane below ``/api``."""
        return [
            self.route("POST", "/stream/v0/data/{stream_id:path}", "stream", self._stream),
            self.route("POST", "/api/v0/oauth2/token", "token", self._token),
            self.route("POST", "/api/v1/streaming", "notice", self._notice),
            *(
                self.route(method, f"/api{path}", "control", self._controlled(answer))
                for method, path, answer in self.control.paths()
            ),
        ]

    def target(self, request: Request) -> str | None:
        """The stream's id."""
        return request.path_params.get("stream_id")

    def revoke(self) -> None:
        """Makes every token issued so far worthless, the API key included."""
        self._tokens.clear()

    def error(self, status: int, message: str) -> Response:
        """The control plane's error body [doc]."""
        number = next(self._traces)
        body = {
            "status": status,
            "message": message,
            "request_id": f"request-{number}",
            "trace_id": f"trace-{number}",
        }
        return JSONResponse(body, status)

    def record(self, call: Call, status: int) -> None:
        """Writes the call into Amperity's books."""
        self.books.write(AmperityCall(self.config.now(), call.path, call.target, status), call.header("x-request-id"))

    def _stream(self, call: Call) -> Response:
        refusal = self._length_refusal(call) or self._tenant_refusal(call, "x-amperity-tenant") or self._limited(call)
        return _echoed(call, refusal or self._accepted(call))

    def _accepted(self, call: Call) -> Response:
        stream_id, request_id = call.target or "", call.header("x-request-id")
        try:
            call.body.decode()
            exists = stream_id in self._streams
            self.books.accept(stream_id, request_id, self.config.now(), call.body, exists=exists)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return self.error(400, "The body must be exactly one JSON object.")
        return Response(status_code=202)

    def _length_refusal(self, call: Call) -> Response | None:
        if call.header("content-length") is None:
            return self.error(411, "Content-Length is required.")
        if len(call.body) > self.config.largest_record:
            return self.error(413, f"The record is larger than {self.config.largest_record} bytes.")
        return None

    def _tenant_refusal(self, call: Call, header: str) -> Response | None:
        """What is wrong with tenant, token or content type, if anything."""
        tenant = call.header(header)
        if tenant is None:
            return self.error(400, f"The header {header} is required.")
        if tenant != self.config.tenant:
            return self.error(403, "The token does not belong to this tenant.")
        if self._tokens.get(call.bearer or "", 0.0) <= self.config.now():
            return self.error(401, "The token is missing, unknown or has expired.")
        if call.method == "POST" and call.media_type != "application/json":
            return self.error(400, "Content-Type must be application/json.")
        return None

    def _limited(self, call: Call) -> Response | None:
        if self.config.rate_limits and not self._limit.take(self.config.tenant, self.config.now()).allowed:
            return self.error(429, "Too many requests.")
        return None

    def _token(self, call: Call) -> Response:
        """Client credentials against a bearer token [doc]; wrong ones are a 401, another form a 400 (judgement)."""
        config = self.config
        if call.header("x-amperity-tenant") is None:
            return self.error(400, "The header x-amperity-tenant is required.")
        if call.header("x-amperity-tenant") != config.tenant:
            return self.error(403, "The client does not belong to this tenant.")
        if call.media_type != "application/x-www-form-urlencoded":
            return self.error(400, "Content-Type must be application/x-www-form-urlencoded.")
        form = parse_qs(call.body.decode("latin-1"))
        if form.get("grant_type") != ["client_credentials"]:
            return self.error(400, "grant_type must be client_credentials.")
        given = [form.get(name, [""])[0] for name in ("client_id", "client_secret")]
        wanted = [config.amperity_client_id, config.amperity_client_secret]
        if not all(hmac.compare_digest(a.encode(), b.encode()) for a, b in zip(given, wanted, strict=True)):
            return self.error(401, "Wrong client credentials.")
        token = f"sandbox-stream-token-{next(self._issued)}"
        self._tokens[token] = config.now() + config.amperity_token_seconds
        self.books.tokens_issued += 1
        content = {"access_token": token, "expires_in": config.amperity_token_seconds, "token_type": "Bearer"}
        return JSONResponse(content)

    def _notice(self, call: Call) -> Response:
        """The guide's notice: 200, or 400 with what is missing [doc for the statuses, judgement for the checks]."""
        return _echoed(call, self._tenant_refusal(call, "amperity-tenant") or self._noted(call))

    def _noted(self, call: Call) -> Response:
        try:
            content = msgspec.json.decode(call.body, type=dict[str, Any])
        except msgspec.DecodeError:
            return self.error(400, "The body must be one JSON object.")
        metadata = content.get("metadata")
        missing = [name for name in _NOTICE_TEXTS if not isinstance(content.get(name), str)]
        missing += [name for name in _NOTICE_METADATA if not isinstance(metadata, dict) or name not in metadata]
        if missing:
            return self.error(400, f"Missing or malformed: {', '.join(missing)}.")
        if content["tenant_id"] != self.config.tenant or not content["s3_location"].startswith("s3://"):
            return self.error(400, "tenant_id or s3_location is wrong.")
        self.books.notices.append(Notice(call.header("x-request-id"), self.config.now(), content))
        return JSONResponse({"status": "accepted"})

    def _controlled(self, answer: Answer) -> Answer:
        """``answer`` of the control plane, after the checks of tenant and token."""

        def judged(call: Call) -> Response:
            refusal = self._tenant_refusal(call, "amperity-tenant")
            if refusal is not None:
                return refusal
            try:
                self.control.admit(call)
                return answer(call)
            except ControlRefusal as problem:
                return self.error(problem.status, str(problem))

        return judged


def _echoed(call: Call, response: Response) -> Response:
    request_id = call.header("x-request-id")
    if request_id is not None:
        response.headers["x-request-id"] = request_id
    return response
