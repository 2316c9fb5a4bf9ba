"""Checks the address of a cluster before Ray connects to it: Ray itself would try for minutes, and not say why.

The head of a cluster answers gRPC at its port (6379 by default), which one request within a time limit tells from
anything else that may listen there. Whether it asks for a token is in its answer.
"""

import logging
import os
import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from actors.foreign.errors import one_line
from actors.foreign.escape import describe
from jobs.cli.config import ConfigError

if TYPE_CHECKING:
    import grpc

PATIENCE_S = 10.0  # for the head's answer
_HOST_AND_PORT = re.compile(r"(\[[0-9a-f:.%\w]+\]|[^\s/:@\[\]]+):([0-9]{1,5})", re.IGNORECASE)
_FORMS = "give the host:port of its head, such as 10.0.0.7:6379, or auto for the Ray that runs on this machine"
_SUBMIT = "ray job submit --working-dir . -- python -m jobs.transcribe CONFIG.yaml"
_TOKEN = (
    "RAY_AUTH_TOKEN, or RAY_AUTH_TOKEN_PATH to a file with it, or write it to ~/.ray/auth_token (on the head, `ray"
    " get-auth-token` prints it)"
)


def check_form(address: str) -> None:
    """Raises ConfigError if no cluster can have that address. Asks nobody."""
    scheme, separator, _ = address.partition("://")
    if separator and scheme.lower() in ("http", "https"):
        url = urlsplit(address)
        server = f"{url.scheme}://{url.netloc.rpartition('@')[2]}"
        raise ConfigError(
            f"ray.address: {server} is where jobs are submitted, and not the address of a cluster; submit this one with"
            f" RAY_API_SERVER_ADDRESS={server} {_SUBMIT}, or {_FORMS}"
        )
    if separator and scheme.lower() == "ray":
        raise ConfigError(
            "ray.address: ray:// is the address of Ray Client, which does not run Ray Data; submit the job with"
            f" {_SUBMIT}, or {_FORMS}"
        )
    match = _HOST_AND_PORT.fullmatch(address)
    if address != "auto" and (match is None or not 0 < int(match[2]) < 65_536):
        raise ConfigError(f"ray.address: {describe(address)} is not the address of a cluster; {_FORMS}")


def check_cluster(address: str) -> None:
    """Raises ConfigError, within seconds, if no cluster of this version of Ray answers at an address, or it asks for a
    token that this process does not have."""
    check_form(address)
    where = _find_local() if address == "auto" else address
    _check_token()
    import grpc
    import ray
    from ray._private.grpc_utils import init_grpc_channel
    from ray._private.ray_constants import GLOBAL_GRPC_OPTIONS
    from ray.core.generated import gcs_service_pb2, gcs_service_pb2_grpc

    channel = init_grpc_channel(where, GLOBAL_GRPC_OPTIONS)
    try:
        head = gcs_service_pb2_grpc.NodeInfoGcsServiceStub(channel)
        answer = head.CheckAlive(gcs_service_pb2.CheckAliveRequest(), timeout=PATIENCE_S)
    except grpc.RpcError as problem:
        raise ConfigError(f"ray.address: {_reason(where, problem)}") from None
    finally:
        channel.close()
    if answer.ray_version != ray.__version__:
        raise ConfigError(
            f"ray.address: the cluster at {where} runs Ray {describe(answer.ray_version)}, and this job Ray"
            f" {ray.__version__}; both must be the same"
        )


def _find_local() -> str:
    """The address of the Ray that runs on this machine. As Ray does for it alone, its token is used if there is one."""
    from ray._private.authentication.authentication_token_setup import maybe_enable_token_auth_if_token_available
    from ray._private.services import canonicalize_bootstrap_address

    logging.getLogger("ray").setLevel(logging.ERROR)
    try:
        found = canonicalize_bootstrap_address("auto")
    except ConnectionError:
        found = None
    if not found:
        raise ConfigError(
            "ray.address: no cluster answers at auto: no Ray runs on this machine; start one with `ray start --head`,"
            " or give the host:port of another machine's, or leave ray.address and RAY_ADDRESS out: the job then starts"
            " a Ray of its own"
        )
    maybe_enable_token_auth_if_token_available(warn_if_disabled=False)
    return str(found)


def _check_token() -> None:
    """Raises ConfigError if tokens are on for this process, and it has none."""
    from ray._private.authentication.authentication_token_setup import ensure_token_if_auth_enabled
    from ray.exceptions import AuthenticationError

    try:
        ensure_token_if_auth_enabled(create_token_if_missing=False)
    except AuthenticationError:
        path = os.environ.get("RAY_AUTH_TOKEN_PATH")
        why = f"RAY_AUTH_TOKEN_PATH names {path}, which cannot be read or is empty" if path else "there is no token"
        raise ConfigError(f"ray.address: RAY_AUTH_MODE is token, and {why}; set {_TOKEN}") from None


def _reason(where: str, problem: "grpc.RpcError") -> str:
    """Why a head did not answer, as a sentence."""
    import grpc
    from ray._private.authentication.authentication_utils import is_token_auth_enabled

    code, said = problem.code(), one_line(Exception(problem.details()))
    if code == grpc.StatusCode.UNAUTHENTICATED:
        if is_token_auth_enabled():
            return f"the cluster at {where} refuses the token, and so has another one; set {_TOKEN}"
        return f"the cluster at {where} asks for a token; set RAY_AUTH_MODE=token and {_TOKEN}"
    if code == grpc.StatusCode.DEADLINE_EXCEEDED:
        return f"no cluster answers at {where}: no answer within {PATIENCE_S:g} s; {_FORMS}"
    if code != grpc.StatusCode.UNAVAILABLE or "HTTP/2" in said:
        return (
            f"no cluster answers at {where}: what listens there is no head of a cluster (the port is 6379 by default;"
            f" 8265 is the dashboard, to which `ray job submit` goes); {_FORMS}"
        )
    cause = re.sub(r".*(?:last error: \w+: \S+?: |errors resolving \S+: |lookup error:)", "", said).strip(" ]")
    return f"no cluster answers at {where}: {cause}; {_FORMS}"
