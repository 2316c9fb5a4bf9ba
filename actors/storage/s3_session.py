"""The HTTP session of S3's client, with a bound on what it holds of an answer."""

from typing import Any

from aiobotocore.httpsession import AIOHTTPSession

from actors.storage.answers import MAX_ANSWER_BYTES, EndpointError, held


class BoundedSession(AIOHTTPSession):  # type: ignore[misc]
    """Takes no answer into memory that is too long for what was asked; objects are streamed by who asked for them."""

    async def send(self, request: Any) -> Any:
        is_streamed, request.stream_output = request.stream_output, True
        answer = await super().send(request)
        if is_streamed and answer.status_code < 300:
            return answer
        body = await held(answer.raw.content.read, MAX_ANSWER_BYTES)
        if body is None:
            answer.raw.close()
            raise EndpointError(f"answers with more than {MAX_ANSWER_BYTES:,} bytes where none or a few are right")
        answer._content = body  # noqa: SLF001 - where aiobotocore keeps it, and looks before it reads
        return answer
