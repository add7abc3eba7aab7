"""The door of the service: body size, content type and multipart forms, before BentoML sees the request.

BentoML reads any body whole, takes an unknown content type for JSON and would fetch a URL given in place of a file;
here a request is either JSON within the limits or refused.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from starlette.datastructures import FormData, Headers, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.errors import RequestError

JSON_TYPE = "application/json"
FORM_TYPE = "multipart/form-data"
MAX_FORM_FIELDS = 64


class RequestGate:
    """ASGI middleware: refuses what is too large or of another type, and turns forms into JSON.

    Args:
        app: What comes next.
        max_body_bytes: A larger body is refused; at the declared length, or as soon as that much has arrived.
        max_files: Files in one form.
    """

    def __init__(self, app: ASGIApp, *, max_body_bytes: int, max_files: int) -> None:
        self.app, self.max_body_bytes, self.max_files = app, max_body_bytes, max_files

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, with its body read, or answer it here."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self.app(scope, receive, send)
            return
        try:
            body = await self._json_body(scope, receive)
        except RequestError as error:
            await JSONResponse(error.to_dict(), status_code=error.status)(scope, receive, send)
            return
        if body is None:
            return
        kept = [(key, value) for key, value in scope["headers"] if key not in (b"content-type", b"content-length")]
        headers = [*kept, (b"content-type", JSON_TYPE.encode()), (b"content-length", str(len(body)).encode())]
        await self.app({**scope, "headers": headers}, _replay(body, receive), send)

    async def _json_body(self, scope: Scope, receive: Receive) -> bytes | None:
        headers = Headers(scope=scope)
        content_type = headers.get("content-type", JSON_TYPE)
        media_type = content_type.split(";")[0].strip().lower()
        if media_type not in (JSON_TYPE, FORM_TYPE):
            raise RequestError(
                "wrong content type",
                status=415,
                where="Content-Type",
                got=media_type[:80],
                allowed=f"{JSON_TYPE} or {FORM_TYPE}",
                fix=f"curl -H 'Content-Type: {JSON_TYPE}' -d '{{...}}', or curl -F image=@photo.jpg",
            )
        if headers.get("content-encoding", "identity") != "identity":
            raise RequestError(
                "compressed bodies are not taken", status=415, where="Content-Encoding", allowed="identity"
            )
        body = await self._read(headers, receive)
        if body is None or media_type == JSON_TYPE:
            return body
        form = await self._parse_form(headers, body)
        try:
            return json.dumps(await _form_to_request(scope["path"], form)).encode()
        finally:
            await form.close()

    async def _read(self, headers: Headers, receive: Receive) -> bytes | None:
        declared = headers.get("content-length", "0")
        if declared.isdecimal() and int(declared) > self.max_body_bytes:
            raise self._too_large(f"{int(declared):,} bytes")
        chunks, size = [], 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            chunk: bytes = message.get("body", b"")
            size += len(chunk)
            if size > self.max_body_bytes:
                raise self._too_large(f"more than {self.max_body_bytes:,} bytes")
            chunks.append(chunk)
            if not message.get("more_body"):
                return b"".join(chunks)

    def _too_large(self, got: str) -> RequestError:
        return RequestError(
            "request body is too large",
            status=413,
            got=got,
            allowed=f"at most {self.max_body_bytes:,} bytes",
            fix="send fewer or smaller pictures",
        )

    async def _parse_form(self, headers: Headers, body: bytes) -> FormData:
        async def stream() -> Any:
            yield body

        parser = MultiPartParser(
            headers,
            stream(),
            max_files=self.max_files,
            max_fields=MAX_FORM_FIELDS,
            max_part_size=self.max_body_bytes,
        )
        try:
            return await parser.parse()
        except (MultiPartException, HTTPException, KeyError) as error:
            reason = getattr(error, "message", "") or str(error)
            raise RequestError("form cannot be read", where=FORM_TYPE, got=reason[:200]) from None


async def _form_to_request(path: str, form: FormData) -> dict[str, Any]:
    """The JSON request that a form stands for.

    A search or query form has `text`, `image` (a file) and `k`; an embed form has `product` (JSON) and any number of
    `images` (files). Other fields are kept, so that the strict request refuses them by name.
    """
    fields: dict[str, Any] = {}
    files: dict[str, list[str]] = {}
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            files.setdefault(name, []).append(base64.b64encode(await value.read()).decode())
        elif name in fields:
            raise RequestError("field is given twice", where=name[:80])
        else:
            fields[name] = value
    if path.rstrip("/").endswith("/embed"):
        product = _json_field(fields.pop("product", "{}"), "product")
        product |= {"images": files.pop("images", []) + files.pop("image", [])}
        return {**fields, **files, "products": [product]}
    for name, encoded in files.items():
        if len(encoded) > 1:
            raise RequestError("field is given twice", where=name[:80])
        fields[name] = encoded[0]
    if isinstance(fields.get("k"), str) and fields["k"].lstrip("-").isdecimal() and len(fields["k"]) < 20:
        fields["k"] = int(fields["k"])
    return fields


def _json_field(text: str, where: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        # Beside broken JSON, a whole number of thousands of digits.
        raise RequestError("field is not valid JSON", where=where, got=str(error)[:200]) from None
    if not isinstance(value, dict):
        raise RequestError("field is not a JSON object", where=where, got=type(value).__name__)
    return value


def _replay(body: bytes, receive: Receive) -> Receive:
    sent = False

    async def replayed() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed
