"""The address of a cluster is checked before Ray connects: what cannot be one, or does not answer, is named within
seconds."""

import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import free_port
from loopback import Loopback

from jobs import plan, transcribe
from jobs.cli.config import ConfigError
from jobs.planning.prepare import cluster_address
from jobs.running import address
from jobs.running.address import check_cluster, check_form


@pytest.fixture
def web() -> Iterator[str]:
    """host:port of an HTTP server, as a cluster's dashboard is one."""

    def answer(request: Any) -> None:
        request.send_response(404)
        request.send_header("Content-Length", "0")
        request.end_headers()

    server = Loopback(answer)
    yield server.url.removeprefix("http://")
    server.close()


NO_ADDRESSES = ("head", "head:", ":6379", "head:port", "head:0", "head:65536", "10.0.0.7:6379/x", "a b:6379", "::1:1")


@pytest.mark.parametrize(
    "given", [*NO_ADDRESSES, "6379", "redis://head:6379", "anyscale://x", "ray:/head:1", "auto ", "Auto", "head:6379\n"]
)
def test_what_is_no_address_is_refused_by_its_form(given: str) -> None:
    with pytest.raises(
        ConfigError, match=r"ray\.address: .* is not the address of a cluster; give the host:port"
    ) as why:
        check_form(given)
    assert "\n" not in str(why.value)


@pytest.mark.parametrize(
    "given", ["auto", "head:6379", "10.0.0.7:6379", "[::1]:6379", "[fe80::1%eth0]:65535", "h_1.x-y:1"]
)
def test_what_may_be_one_is_not(given: str) -> None:
    check_form(given)


@pytest.mark.parametrize("main", [plan.main, transcribe.main])
@pytest.mark.parametrize("by_environment", [False, True])
def test_where_jobs_are_submitted_is_no_cluster(
    job: Any, main: Any, by_environment: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    server = "http://user:password@head:8265"
    if by_environment:
        monkeypatch.setenv("RAY_ADDRESS", server)
    overrides = [] if by_environment else ["ray.address=http://head:8265"]
    status, _, seen = job(f"output.uri={tmp_path}", *overrides, main=main)
    assert status == 2
    assert "RAY_API_SERVER_ADDRESS=http://head:8265 ray job submit --working-dir . -- python -m jobs." in seen
    assert "password" not in seen
    status, _, seen = job(f"output.uri={tmp_path}", "ray.address=ray://head:10001", main=main)
    assert status == 2
    assert "ray:// is the address of Ray Client, which does not run Ray Data" in seen


def test_nobody_answers(web: str) -> None:
    nowhere = f"127.0.0.1:{free_port()}"
    for given, message in (
        (nowhere, f"no cluster answers at {nowhere}: .*Connection refused; give the host:port"),
        (nowhere.replace("127.0.0.1", "[::1]"), "no cluster answers at .*; give the host:port"),
        ("no-such-host.invalid:6379", "no cluster answers at no-such-host.invalid:6379: .*; give the host:port"),
        (web, f"no cluster answers at {web}: what listens there is no head of a cluster"),
    ):
        began = time.monotonic()
        with pytest.raises(ConfigError, match=rf"^ray\.address: {message}"):
            check_cluster(given)
        assert time.monotonic() - began < 5


def test_what_listens_and_says_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address, "PATIENCE_S", 1.0)
    refused = pytest.raises(ConfigError, match=r"no answer within 1 s; give the host:port")
    with socket.create_server(("127.0.0.1", 0)) as silent, refused:
        check_cluster(f"127.0.0.1:{silent.getsockname()[1]}")


def test_a_run_that_needs_no_devices_is_told_before_it_begins(job: Any, tmp_path: Any) -> None:
    settings = ["model.device=cpu", "model.precision=float32", f"ray.address=127.0.0.1:{free_port()}"]
    status, _, seen = job(f"output.uri={tmp_path}/out", *settings)
    assert status == 2
    assert "ray.address: no cluster answers at 127.0.0.1:" in seen
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("stated", "environment", "address"),
    [
        (None, None, None),
        (None, "", None),
        ("", "", None),
        ("local", None, None),
        ("local", "head:1", None),
        (None, "local", None),
        ("auto", "local", None),
        ("auto", None, "auto"),
        ("auto", "", "auto"),
        (None, "auto", "auto"),
        ("auto", "head:1", "head:1"),
        (None, "head:1", "head:1"),
        ("other:1", "head:1", "other:1"),
    ],
)
def test_which_address_counts(
    stated: str | None, environment: str | None, address: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if environment is not None:
        monkeypatch.setenv("RAY_ADDRESS", environment)
    assert cluster_address(stated) == address
