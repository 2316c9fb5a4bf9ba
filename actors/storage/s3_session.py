"""What the S3 client does otherwise than by itself: responses in memory are bounded, cold storage is an error of its
own."""

from collections.abc import Mapping
from copy import deepcopy

from aiobotocore.awsrequest import AioAWSResponse
from aiobotocore.httpsession import AIOHTTPSession
from botocore.awsrequest import AWSPreparedRequest
from s3fs import S3FileSystem
from s3fs.errors import ERROR_CODE_TO_EXCEPTION

from actors.storage.answers import MAX_RESPONSE_BYTES, ArchivedObject, EndpointError, read_bounded


def _archived(message: str) -> ArchivedObject:
    return ArchivedObject(f"it is in cold storage and has to be restored first ({message})")


#: https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html; a missing permission, to s3fs. This module is
#: loaded wherever an S3 filesystem is made or unpickled, for its class is one of its options.
ERROR_CODE_TO_EXCEPTION["InvalidObjectState"] = _archived


class S3(S3FileSystem):  # type: ignore[misc]
    """S3 with keys as they are stored: to s3fs, what follows "?versionId=" is no part of a key."""

    def __init__(self, *, config_kwargs: Mapping[str, object], **options: object) -> None:
        super().__init__(config_kwargs=deepcopy(config_kwargs), **options)  # botocore changes it, and so what it equals

    def split_path(self, path: str) -> tuple[str, str, str | None]:
        """The bucket, the key, and the version if the option version_aware asks for versions."""
        if self.version_aware:
            bucket, key, version = super().split_path(path)
            return bucket, key, version
        bucket, key = self._find_bucket_key(self._strip_protocol(path).lstrip("/"))
        return bucket, key, None


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
