"""What the S3 client does otherwise than by itself: responses in memory are bounded, cold storage is an error of its
own."""

from aiobotocore.awsrequest import AioAWSResponse
from aiobotocore.httpsession import AIOHTTPSession
from botocore.awsrequest import AWSPreparedRequest
from s3fs.errors import ERROR_CODE_TO_EXCEPTION

from actors.storage.answers import MAX_RESPONSE_BYTES, ArchivedObject, EndpointError, read_bounded


def _archived(message: str) -> ArchivedObject:
    return ArchivedObject(f"it is in cold storage and has to be restored first ({message})")


#: https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html; a missing permission, to s3fs. This module is
#: loaded wherever an S3 filesystem is made or unpickled, for its class is one of its options.
ERROR_CODE_TO_EXCEPTION["InvalidObjectState"] = _archived


class BoundedSession(AIOHTTPSession):  # type: ignore[misc]
    """Refuses responses that are too long for memory; objects are streamed by the caller."""

    async def send(self, request: AWSPreparedRequest) -> AioAWSResponse:
        is_streamed, request.stream_output = request.stream_output, True
        response = await super().send(request)
        if is_streamed and response.status_code < 300:
            return response
        try:
            body = await read_bounded(response.raw.content.read, MAX_RESPONSE_BYTES)
        except BaseException:  # a response that broke off keeps its connection, of which there are ten, until closed
            response.raw.close()
            raise
        if body is None:
            response.raw.close()
            raise EndpointError(f"responded with more than {MAX_RESPONSE_BYTES:,} bytes, far more than expected")
        response._content = body  # noqa: SLF001 - aiobotocore's cache of the body, which it checks before reading
        return response
