"""Models by path, URL and hub name: fetched once, remembered, and refused with advice."""

import hashlib
import http.server
import io
import json
import os
import subprocess
import sys
import tarfile
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import s3fs
from conftest import DEMO_MODEL, ROOT, free_port

from actors.engine.models import fetch, is_hub_name, resolve

REFERENCE = "nvidia/stt_zh_citrinet_1024_gamma_0_25"
DEMO_SHA256 = hashlib.sha256(DEMO_MODEL.read_bytes()).hexdigest()
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(http.server.BaseHTTPRequestHandler):
    """What a hub answers for one file of one model: the demo's, under the reference model's name."""

    requests: ClassVar[Counter[str]] = Counter()

    def do_HEAD(self) -> None:
        self.requests["HEAD"] += 1
        self._answer()

    def do_GET(self) -> None:
        if self._answer():
            self.requests["GET"] += 1
            self.wfile.write(DEMO_MODEL.read_bytes())

    def _answer(self) -> bool:
        file = f"{REFERENCE.split('/')[1]}.nemo"
        known = self.path in (f"/{REFERENCE}/resolve/{revision}/{file}" for revision in ("main", COMMIT))
        self.send_response(200 if known else 404)
        self.send_header("X-Repo-Commit", COMMIT)
        if known:
            self.send_header("ETag", f'"{DEMO_SHA256}"')
            self.send_header("Content-Length", str(DEMO_MODEL.stat().st_size))
        else:
            self.send_header("X-Error-Code", "RepoNotFound")
        self.end_headers()
        return known

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[str]:
    Hub.requests.clear()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def resolved_in_a_new_process(name: str, folder: Path, endpoint: str) -> dict[str, str]:
    """What `resolve` says in a process whose hub is at `endpoint`, or the error; as a fresh machine has it."""
    program = (
        "import sys, json\nfrom actors.engine.models import fetch, resolve\n"
        "try:\n    model = resolve(sys.argv[1], None, {})\n"
        "    print(json.dumps({'sha256': model.sha256, 'revision': model.revision, 'path': str(fetch(model))}))\n"
        "except ValueError as problem:\n    print(json.dumps({'error': str(problem)}))\n"
    )
    environment = os.environ | {
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(folder / "hf"),
        "CITRASCRIBE_CACHE": str(folder / "c"),
    }
    done = subprocess.run(
        [sys.executable, "-c", program, name], env=environment, cwd=ROOT, capture_output=True, text=True, check=True
    )
    return dict(json.loads(done.stdout))


def test_a_hub_name_is_fetched_once(hub: str, tmp_path: Path) -> None:
    for _ in range(2):
        model = resolved_in_a_new_process(REFERENCE, tmp_path, hub)
        assert (model["sha256"], model["revision"]) == (DEMO_SHA256, COMMIT)
        assert Path(model["path"]).read_bytes() == DEMO_MODEL.read_bytes()
    assert Hub.requests["GET"] == 1


def test_a_hub_out_of_reach(hub: str, tmp_path: Path) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    error = resolved_in_a_new_process(REFERENCE, tmp_path, nowhere)["error"]
    assert f"{REFERENCE} could not be fetched from the hub" in error
    assert "stt_zh_citrinet_1024_gamma_0_25.nemo elsewhere and set model.name" in error
    assert "could not be fetched" in resolved_in_a_new_process("nvidia/none", tmp_path, hub)["error"]
    resolved_in_a_new_process(REFERENCE, tmp_path, hub)
    assert resolved_in_a_new_process(REFERENCE, tmp_path, nowhere)["sha256"] == DEMO_SHA256  # what is here is enough


def test_a_path_and_its_hash_are_remembered_until_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "m.nemo"
    path.write_bytes(DEMO_MODEL.read_bytes())
    first = resolve(str(path), None, {})
    assert (first.sha256, fetch(first)) == (DEMO_SHA256, path)
    before = path.stat()
    path.write_bytes(b"x" * before.st_size)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert resolve(str(path), None, {}).sha256 == DEMO_SHA256  # the same version by name, so it was not opened
    os.utime(path, ns=(1, 1))
    with pytest.raises(ValueError, match=r"m\.nemo: it is not a \.nemo file"):
        resolve(str(path), None, {})


def test_a_url_is_fetched_once_a_machine(s3_options: dict[str, Any], tmp_path: Path) -> None:
    s3fs.S3FileSystem(**s3_options).put_file(str(DEMO_MODEL), "bucket/models/demo.nemo")
    model = resolve("s3://bucket/models/demo.nemo", None, s3_options)
    assert model.sha256 == DEMO_SHA256
    path = fetch(model)
    fetched = path.stat().st_mtime_ns
    assert fetch(model) == path
    assert path.stat().st_mtime_ns == fetched
    assert tmp_path / "cache" in path.parents
    assert s3_options["secret"] not in repr(model)


def test_weights_other_than_planned_are_refused() -> None:
    model = resolve(str(DEMO_MODEL), None, {})
    with pytest.raises(ValueError, match="not those that the run was planned with"):
        fetch(replace(model, sha256="0" * 64))


def nemo_file(path: Path, config: str) -> str:
    with tarfile.open(path, "w") as archive:
        header = tarfile.TarInfo("./model_config.yaml")
        header.size = len(config)
        archive.addfile(header, io.BytesIO(config.encode()))
    return str(path)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("target: nemo.collections.asr.models.EncDecRNNTBPEModel", "is a EncDecRNNTBPEModel; a CTC model is needed"),
        ("target: a.EncDecCTCModel\npreprocessor: {sample_rate: 8000}", "expects audio at 8000 Hz"),
        ("- a list", "its model_config.yaml is not a mapping"),
        ("a: [", "it is not a .nemo file"),
    ],
)
def test_other_checkpoints_are_refused_before_anything_starts(tmp_path: Path, config: str, message: str) -> None:
    with pytest.raises(ValueError, match=r"model\.name") as caught:
        resolve(nemo_file(tmp_path / "x.nemo", config), None, {})
    assert message in str(caught.value)


def test_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_hub_name(REFERENCE)
    assert not is_hub_name("models/here.nemo")
    assert not is_hub_name("s3://bucket/x.nemo")
    with pytest.raises(ValueError, match=r"there is no file 'none\.nemo'; give a path or URL"):
        resolve("none.nemo", None, {})
