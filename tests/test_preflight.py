"""Storage that cannot be used is a mistake of the configuration, found before anything is read or fetched."""

import os
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from conftest import free_port
from loopback import Loopback

from actors.schema import UsageError
from actors.storage.place import Place
from actors.storage.preflight import check_storage
from actors.storage.s3_session import S3
from jobs import benchmark, evaluate, export, history, plan, transcribe
from jobs.cli.loading import load

MODEL = "model.name=demo/citrinet_zh_demo.nemo"


@pytest.fixture(autouse=True)
def _no_connections() -> Iterator[None]:
    """Connections are kept by their options, and their credentials come from the environment."""
    S3.clear_instance_cache()
    yield
    S3.clear_instance_cache()


def config_with(folder: Path, section: str, options: dict[str, Any], uri: str = "s3://bucket/x.nemo") -> str:
    """A configuration with a section in S3, and the others here."""
    import yaml

    key = "name" if section == "model" else "uri"
    sections: dict[str, Any] = {"input": {"uri": "demo/audio"}, "output": {"uri": str(folder / "out")}}
    sections |= {"model": {"name": "demo/citrinet_zh_demo.nemo"}}
    sections[section] |= {key: uri, "storage_options": options}
    (folder / "c.yaml").write_text(yaml.safe_dump(sections))
    return str(folder / "c.yaml")


@pytest.mark.parametrize("main", [plan.main, transcribe.main])
@pytest.mark.parametrize("section", ["input", "output", "model"])
def test_what_is_wrong_with_s3(
    section: str, main: Any, job: Any, s3_options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    endpoint, nowhere = s3_options["endpoint_url"], f"http://127.0.0.1:{free_port()}"
    key = "model.name" if section == "model" else f"{section}.uri"
    for options, uri, message in (
        (s3_options, "s3://no-bucket/x.nemo", f"{key}: there is no bucket no-bucket at {endpoint}; create it"),
        (
            {"endpoint_url": endpoint},
            "s3://bucket/x.nemo",
            f"{key}: there are no credentials for s3://bucket; set AWS_",
        ),
        (s3_options | {"secret": "wrong"}, "s3://bucket/x.nemo", f"{key}: s3://bucket refuses these credentials"),
        (s3_options | {"key": "wrong"}, "s3://bucket/x.nemo", f"{key}: s3://bucket refuses these credentials"),
        (s3_options | {"endpoint_url": nowhere}, "s3://bucket/x.nemo", f"endpoint_url is {nowhere}, where nothing"),
        ({"endpoint_url": endpoint, "profile": "none"}, "s3://bucket/x.nemo", f"{key}: ProfileNotFound: The config"),
        (s3_options | {"endpoint_url": "minio:9000"}, "s3://bucket/x.nemo", "endpoint_url should be a URL"),
    ):
        status, _, seen = job(config=config_with(tmp_path, section, options, uri), main=main)
        may_pass = "where nothing" in message  # it may be about to start
        assert (status, may_pass or "configuration: " in seen) == (1 if may_pass else 2, True), seen
        assert message in seen
        assert seen.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("main", [plan.main, transcribe.main])
def test_an_output_that_may_not_be_written(main: Any, job: Any, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    status, _, seen = job(f"output.uri={tmp_path}/file/out", main=main)
    assert status == 2
    assert f"output.uri: {tmp_path}/file/out cannot be a folder, for {tmp_path}/file is not one" in seen
    if os.geteuid():
        (tmp_path / "locked").mkdir(mode=0o500)
        status, _, seen = job(f"output.uri={tmp_path}/locked/out", main=main)
        assert status == 2
        assert f"output.uri: {tmp_path}/locked may not be written" in seen


def test_what_a_policy_allows_below_a_prefix_is_enough() -> None:
    """Policies often let a user list below one prefix alone."""
    asked = list[str]()

    def answer(request: BaseHTTPRequestHandler) -> None:
        prefix = parse_qs(urlsplit(request.path).query).get("prefix", [""])[0]
        asked.append(prefix)
        allowed = prefix.startswith("team/out/")
        body = b"<ListBucketResult/>" if allowed else b"<Error><Code>AccessDenied</Code></Error>"
        request.send_response(200 if allowed else 403)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    with closing(Loopback(answer)) as server:
        options = {"endpoint_url": server.url, "key": "k", "secret": "s", "client_kwargs": {"region_name": "r"}}
        output = Place.at("s3://bucket/team/out", options)
        check_storage(output / "_", "output.uri", must_list=True)  # as `asked_place` asks
        with pytest.raises(UsageError, match=r"output\.uri: s3://bucket refuses these credentials"):
            check_storage(Place.at("s3://bucket/other/out", options) / "_runs", "output.uri", must_list=True)
        check_storage(Place.at("s3://bucket/other/a.wav", options), "input.uri")  # may be readable all the same
    assert asked[:2] == ["team/out/", "other/out/"]


@pytest.mark.parametrize("main", [history.main, export.main, evaluate.main])
def test_jobs_that_read_an_output_ask_its_storage(
    main: Any, job: Any, s3_options: dict[str, Any], tmp_path: Path
) -> None:
    for options, uri, message in (
        (s3_options, "s3://no-bucket/out", "output.uri: there is no bucket no-bucket at "),
        (s3_options | {"secret": "wrong"}, "s3://bucket/out", "output.uri: s3://bucket refuses these credentials"),
        (s3_options, "s3://Bad_Bucket!/out", "output.uri: 'Bad_Bucket!' cannot be the name of a bucket"),
    ):
        status, summary, seen = job(config=config_with(tmp_path, "output", options, uri), main=main)
        assert (status, summary["status"]) == (2, 2), seen
        assert message in seen


@pytest.mark.parametrize(("key", "job"), [("evaluate.write", evaluate), ("benchmark.write", benchmark)])
def test_a_file_that_cannot_be_written_is_told_before_any_work(key: str, job: Any, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a file where a folder should be")
    (tmp_path / "folder.json").mkdir()
    for target, told in (
        (f"{tmp_path}/a/b.json", "cannot be a folder, for"),
        (f"{tmp_path}/folder.json", "is a folder; name a file in it"),
        ("https://host/b.json", "HTTP cannot be written to"),
    ):
        overrides = [f"input.uri={tmp_path}", f"output.uri={tmp_path}/out", MODEL, f"{key}={target}"]
        arguments = ("",) if job is benchmark else ()
        with pytest.raises(UsageError) as caught:
            job.run(load(None, overrides), *arguments)
        assert str(caught.value).startswith(f"{key}: ")
        assert told in str(caught.value)
    assert not (tmp_path / "out").exists()
