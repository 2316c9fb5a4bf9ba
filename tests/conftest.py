"""Real parts for the tests: a Ray, S3 servers, speech with known words, and models of random weights made lively."""

import contextlib
import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from audio_files import demo_sentences

from actors.audio.pcm import as_float
from actors.pieces import Cut, Piece, cut_unit
from actors.units import SourceObject, Unit
from jobs.cli.terminal import read_json

ROOT = Path(__file__).parent.parent
DEMO_MODEL = ROOT / "demo" / "citrinet_zh_demo.nemo"
S3_KEY, S3_SECRET = "CITRASCRIBETESTKEY01", "citrascribe-test-secret-0123456789abcdef"

os.environ.setdefault("NUMBA_CACHE_DIR", str(ROOT / "build" / "numba"))  # compiling takes half a minute: once for all

for _each in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
    if signal.getsignal(_each) is signal.SIG_IGN:  # as of `nohup` or a shell's `&`: the jobs under test inherit it
        signal.signal(_each, signal.default_int_handler if _each == signal.SIGINT else signal.SIG_DFL)


@pytest.fixture(autouse=True)
def _own_surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test has a cache of its own, runs at the project's root, and knows of no cluster."""
    monkeypatch.setenv("CITRASCRIBE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.chdir(ROOT)


@pytest.fixture
def ray_two_cpus() -> None:
    """A local Ray, the same for all tests that run the graph in this process; it ends with the process.

    Its workers have the credentials of the S3 servers in their environment, as those of a cluster would; this process
    has not.
    """
    import ray

    if not ray.is_initialized():
        credentials = {"AWS_ACCESS_KEY_ID": S3_KEY, "AWS_SECRET_ACCESS_KEY": S3_SECRET}
        with pytest.MonkeyPatch.context() as patch:
            for name, value in credentials.items():
                patch.setenv(name, value)
            ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_it_answers(url: str, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            urllib.request.urlopen(url, timeout=1).close()
            return
        except urllib.error.HTTPError:
            return  # refused without a signature: it answers
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


@contextlib.contextmanager
def s3_server(folder: Path) -> Iterator[dict[str, str]]:
    """Storage options for a real S3 server over a folder, whose folders are its buckets. It ignores If-None-Match."""
    port = free_port()
    command = [str(Path(sys.executable).parent / "rclone"), "serve", "s3", "--addr", f"127.0.0.1:{port}"]
    command += ["--auth-key", f"{S3_KEY},{S3_SECRET}", "--config", os.devnull, str(folder)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until_it_answers(f"http://127.0.0.1:{port}")
        yield {"endpoint_url": f"http://127.0.0.1:{port}", "key": S3_KEY, "secret": S3_SECRET}
    finally:
        server.terminate()
        server.wait()


@pytest.fixture(scope="session")
def s3_options(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Storage options for an S3 server with the bucket "bucket"."""
    folder = tmp_path_factory.mktemp("s3")
    (folder / "bucket").mkdir()
    with s3_server(folder) as options:
        yield options


@pytest.fixture(scope="session")
def conditional_s3_options() -> Iterator[dict[str, Any]]:
    """Storage options for an S3 server that honours If-None-Match; it has the bucket "bucket"."""
    import s3fs
    from moto.server import ThreadedMotoServer

    port = free_port()
    server = ThreadedMotoServer("127.0.0.1", port, verbose=False)
    server.start()
    options = {"endpoint_url": f"http://127.0.0.1:{port}", "key": S3_KEY, "secret": S3_SECRET}
    s3fs.S3FileSystem(**options).mkdir("bucket")
    yield options
    server.stop()


@pytest.fixture(scope="session")
def speech() -> list[tuple[np.ndarray, str]]:
    """Recordings of demo speech with their words: float32 samples at 16 kHz."""
    return demo_sentences()


def peak_bytes() -> int:
    """The most memory that this process has held since it began, or since `forget_peak`. (What getrusage tells of a
    child begins with its parent's.)"""
    status = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in status if line.startswith("VmHWM")).split()[1]) * 1024


def forget_peak() -> int:
    """Begins anew with the peak of memory; returns what is held now."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak_bytes()


def piece_of(objects: Iterable[SourceObject], seconds: float = 60.0) -> Piece:
    """Objects as a unit that is one piece."""
    return cut_unit(Unit("0a", "f", tuple(objects)), Cut(seconds))[0]


def tone(seconds: float, rate: int = 16_000, hertz: float = 440.0, level: float = 0.5) -> np.ndarray:
    """A pure tone: float64 samples."""
    return level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def sound_of(row: Mapping[str, Any]) -> np.ndarray:
    """The sound of a row of SPEECH_SCHEMA, as float32."""
    return as_float(np.frombuffer(row["pcm"], np.float32 if row["is_float"] else np.int16))


def encoded(samples: np.ndarray, rate: int = 16_000, kind: str = "WAV", subtype: str | None = None) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=kind, subtype=subtype)
    return file.getvalue()


@pytest.fixture(scope="session")
def lively_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes a `.nemo` of random weights whose output depends on its input, of characters or of SentencePiece.

    Plain random weights give the same output for any sound: only batch-norm statistics from a pass in training mode
    over varied sound make such a model tell sounds apart.
    """
    folder = tmp_path_factory.mktemp("models")

    def make(name: str, sentencepiece: bool = False, config: dict[str, Any] | None = None, **shape: Any) -> Path:
        import torch

        from actors.benchmark.citrinets import build, citrinet_config

        path = folder / f"{name}.nemo"
        if path.exists():
            return path
        torch.manual_seed(7)
        labels = list("abcdefghijklmnopqrstuvwxyz ")
        tokenizer = make_tokenizer(folder / name) if sentencepiece else None
        model = build(config or citrinet_config(labels, **({"filters": 64} | shape)), tokenizer)
        draw = np.random.default_rng(7)
        sounds = [
            tone(2.0, hertz=hertz) * draw.uniform(0.1, 1) + draw.normal(0, 0.05, 32_000)
            for hertz in range(100, 4000, 250)
        ]
        model.train()
        with torch.no_grad():
            for _ in range(20):
                batch = torch.tensor(np.array(sounds), dtype=torch.float32)
                model.forward(input_signal=batch, input_signal_length=torch.tensor([32_000] * len(sounds)))
        model.eval()
        model.save_to(str(path))
        return path

    return make


@pytest.fixture(scope="session")
def make_pieces() -> Callable[..., bytes]:
    """Trains a small SentencePiece model on lines of text: its file's bytes."""

    def make(lines: Sequence[str], **asked: Any) -> bytes:
        import sentencepiece

        model = io.BytesIO()
        options = {"model_type": "bpe", "vocab_size": 64, "minloglevel": 2} | asked
        sentencepiece.SentencePieceTrainer.Train(sentence_iterator=iter(lines), model_writer=model, **options)
        return model.getvalue()

    return make


def make_tokenizer(folder: Path) -> Path:
    """A SentencePiece tokenizer of 64 pieces, trained on a few made-up words, as NeMo wants it in a folder."""
    import sentencepiece

    folder.mkdir(parents=True)
    draw = np.random.default_rng(3)
    words = ["".join(draw.choice(list("abcdefghiklmnoprstuw"), size=draw.integers(2, 9))) for _ in range(400)]
    (folder / "text").write_text("\n".join(" ".join(draw.choice(words, size=6)) for _ in range(300)))
    sentencepiece.SentencePieceTrainer.Train(
        input=str(folder / "text"),
        model_prefix=str(folder / "tokenizer"),
        vocab_size=64,
        model_type="bpe",
        minloglevel=2,
    )
    pieces = (folder / "tokenizer.vocab").read_text().splitlines()
    (folder / "vocab.txt").write_text("\n".join(line.split("\t")[0] for line in pieces))
    return folder


@pytest.fixture
def _tried_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What storage is asked again is asked at once."""
    from actors.storage.place import Place
    from actors.storage.s3_listing import S3Listing

    for call in (Place.read, Place.info, Place.read_range, Place.modified, Place.check_access, S3Listing.request):
        monkeypatch.setattr(call.retry, "wait", lambda state: 0)


@pytest.fixture
def serve() -> Iterator[Callable[..., Any]]:
    """Starts servers that answer as a function says."""
    from hostile_storage import HostileStorage

    servers = list[HostileStorage]()

    def start(answer: Callable[..., Any]) -> HostileStorage:
        servers.append(HostileStorage(answer))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def demo_copy(tmp_path: Path) -> Path:
    """A copy of the demo audio that a test may change."""
    return Path(shutil.copytree(ROOT / "demo" / "audio", tmp_path / "audio"))


@pytest.fixture
def job(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, dict[str, Any], str]]:
    """Runs the job in this process; returns its status, its JSON and what a person saw."""

    def run(*overrides: str, config: str = "configs/demo.yaml", main: Any = None) -> tuple[int, dict[str, Any], str]:
        from jobs import transcribe

        status = (main or transcribe.main)([config, *overrides])
        out, err = capfd.readouterr()
        return status, read_json(out) if out else {}, err

    return run
