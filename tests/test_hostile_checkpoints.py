"""A checkpoint from anywhere is converted, to the same tensors as ever, or refused in a sentence; it never takes the
machine. Its weights have a file of tests of their own."""

import contextlib
import io
import random
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import changed, demo_config, demo_member, demo_weights, nemo
from conftest import DEMO_MODEL, ROOT, make_tokenizer

from actors.engine.citrinet import checkpoint
from actors.engine.citrinet.archive import CONFIG, WEIGHTS, Archive, read_archive, read_config
from actors.engine.citrinet.conversion import convert
from actors.engine.models import resolve
from actors.schema import UsageError
from actors.storage.cache import sha256_of
from jobs import plan, transcribe

BIG = "x" * 50


def alias_bomb(key: str) -> bytes:
    """A kilobyte that stands for 10^9 words, as the value of a key."""
    levels = ["a0: &a0 [" + ",".join(["word"] * 10) + "]"]
    levels += [f"a{n}: &a{n} [" + ",".join([f"*a{n - 1}"] * 10) + "]" for n in range(1, 9)]
    return "\n".join([*levels, key.replace("BOMB", "*a8"), ""]).encode()


YAML_BOMBS = {
    "target": alias_bomb("target: BOMB"),
    "_target_": alias_bomb("target: a.EncDecCTCModel\npreprocessor: {_target_: BOMB, sample_rate: BOMB}"),
    "merge": alias_bomb("target: {<<: BOMB}"),
    "itself": b"target: &a [*a]",
    "lists": b"target: " + b"[" * 300_000,
    "mappings": b"target: " + b"{a: " * 300_000,
    "dashes": b"- " * 300_000,
    "deep by aliases": b"\n".join(
        [b"a0: &a0 " + b"[" * 40 + b"]" * 40, b"a1: " + b"[" * 40 + b"*a0" + b"]" * 40, b"target: x"]
    ),
    "base 60": b"target: 1" + b":59" * 1_000_000,
    "digits": b"target: " + b"9" * 100_000,
    "keys of one hash": b"".join(b"%d: 0\n" % (n * (2**61 - 1)) for n in range(1, 60_000)),
    "many values": b"target: [" + b"0," * 1_900_000 + b"0]",
    "large": b"target: " + b"x" * 5_000_000,
}


@pytest.mark.parametrize("name", YAML_BOMBS)
def test_yaml_that_grows_is_refused_before_it_does(name: str, tmp_path: Path) -> None:
    program = (
        "import sys\nsys.path.insert(0, 'tests')\n"
        "from actors.engine.models import resolve\nfrom conftest import peak_bytes\n"
        "try: resolve(sys.argv[1], None, {})\nexcept ValueError as problem: print(problem)\n"
        "print(peak_bytes() // 1_000_000)"
    )
    path = nemo(tmp_path / "m.nemo", YAML_BOMBS[name])
    command = [sys.executable, "-c", program, str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    sentence, megabytes = done.stdout.splitlines()
    assert sentence.startswith(f"model.name: {path}: it")
    assert len(sentence) < 300 + len(str(path))
    assert int(megabytes) < 500


def test_a_few_aliases_are_fine(tmp_path: Path) -> None:
    text = (
        demo_member(CONFIG).decode().replace("kernel:\n    - 3\n    stride:", "kernel: &one\n    - 3\n    stride:", 1)
    )
    assert read_config(nemo(tmp_path / "m.nemo", text.encode() + b"more: *one\n")) == demo_config() | {"more": [3]}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (b"target: [a.EncDecCTCModel]", "is a model of unknown kind; a CTC model is needed"),
        (b"target: " + BIG.encode() * 90, f"is a '{(BIG * 2)[:60]}'; a CTC"),
        (b"target: EncDecCTCModel\npreprocessor: []", "its preprocessor is a list of 0, and should be a mapping"),
        (b"target: EncDecCTCModel\npreprocessor: {sample_rate: [16000]}", "expects audio at a list of 1 Hz"),
        (b"target: EncDecCTCModel\npreprocessor: {sample_rate: .nan}", "expects audio at nan Hz"),
        (b"\xff\xfe\x00", "it is not YAML"),
        (b"a: !!int ''", "it is not YAML"),
        (b"a: !!bool x", "it is not YAML"),
        (b"a: 2001-99-99", "it is not YAML"),
    ],
)
def test_what_the_driver_looks_at(config: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"model\.name") as caught:
        resolve(str(nemo(tmp_path / "m.nemo", config)), None, {})
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("key", "values", "message"),
    [
        ("encoder.jasper.1.stride", [[-2], [0], 0, -1, 3, [2, 2], [[2]], 1.5, None, "2"], "block 1 has stride"),
        ("encoder.jasper.1.dilation", [[-1], [0], 10**9, None, "x"], "block 1 has dilation"),
        ("encoder.jasper.1.dilation", [[2]], "a stride and a dilation"),
        ("encoder.jasper.1.repeat", [0, -1, 10**9, 2.0, True, "2", [2]], "block 1 has repeat"),
        ("encoder.jasper.1.kernel", [[0], [-3], 10**9, "3", {}], "block 1 has kernel"),
        ("encoder.jasper.1.kernel", [[9]], "has the shape"),
        ("encoder.jasper.1.kernel_size_factor", [0, -1, float("nan"), float("inf"), "1"], "has kernel_size_factor"),
        ("encoder.jasper.1.filters", [0, -160, 10**9, "160", None], "block 1 has filters"),
        ("encoder.jasper.1.filters", [161], "has the shape"),
        ("encoder.jasper.1.residual_mode", ["add"], "a stride, and its residual has none"),
        ("encoder.jasper.1.residual_mode", [[], BIG], "block 1 has residual_mode"),
        ("encoder.jasper.1.stride_last", [False], "a residual around 2 strides"),
        ("encoder.jasper.1.separable", [False], "is not separable; model.engine=nemo may run it"),
        ("encoder.jasper.1", [None, [], "x", 7], "and should be a mapping"),
        ("encoder.jasper", [None, [], {}, "x", [[]], [None]], "its (encoder has jasper|block 0 is)"),
        ("encoder", [None, [], "x", 7, [{}]], "its encoder is"),
        ("preprocessor", [None, [], "x", 7], "its preprocessor is"),
        ("decoder", [None, [], "x", 7], "its decoder is"),
        (
            "encoder._target_",
            [None, [], {}, BIG * 9],
            "its encoder is .*, and the fused engine supports ConvASREncoder",
        ),
        ("encoder.feat_in", [-80, 64], "encoder (has feat_in|expects)"),
        ("encoder.activation", [["relu"], "x" * 9_000], "its encoder has activation"),
        ("preprocessor.window_size", [1e-9, -1, 0.0, 1e9, float("nan"), float("inf"), "x"], "has window_size"),
        ("preprocessor.window_size", [0.03], "has the shape"),
        ("preprocessor.window_stride", [1e-9, -0.01, 0.0, 1e9, float("nan"), float("-inf"), []], "has window_stride"),
        ("preprocessor.n_fft", [0, -512, 10**9, "512", 512.5], "has n_fft"),
        ("preprocessor.n_fft", [1024], "for frames of 512 samples"),
        ("preprocessor.features", [0, -1, "80"], "has features"),
        ("preprocessor.preemph", [float("nan"), 10**9, "x"], "has preemph"),
        ("preprocessor.mag_power", [0, float("inf"), None], "has mag_power"),
        ("preprocessor.log_zero_guard_value", [0, -1, float("nan"), "huge", []], "has log_zero_guard_value"),
        ("decoder.vocabulary", ["x" * 9_000, {"a": 1}, [["a"]] * 273, [None] * 273, [7] * 273], "its vocabulary"),
        ("decoder.vocabulary", [["x" * 101] * 273, ["x"] * 50_001, ["x"] * 9], "its vocabulary"),
        (
            "tokenizer",
            [{}, [], "x", {"model_path": ["x"]}, {"model_path": ""}],
            "its tokenizer is not a SentencePiece model",
        ),
    ],
)
def test_settings_are_refused_by_name(key: str, values: list[Any], message: str, tmp_path: Path) -> None:
    for value in values:
        path = nemo(tmp_path / "m.nemo", changed(demo_config(), key, value))
        with pytest.raises(UsageError, match=message) as caught:
            checkpoint.load(path, sha256_of(path), tmp_path / "cache")
        assert str(caught.value).startswith("model.name: m.nemo: its ")
        assert len(str(caught.value)) < 300
        reason = str(caught.value).removeprefix("model.name: m.nemo: ")
        with pytest.raises(UsageError, match=r"model\.name") as planned:
            resolve(str(path), None, {}, is_fused=True)
        assert str(planned.value) == f"model.name: {path}: {reason}"


def without(name: str) -> dict[str, Any]:
    return {other: each for other, each in demo_weights().items() if other != name}


def spoiled(name: str, kind: str) -> dict[str, Any]:
    """The demo's weights in another type, with one number of one tensor that is none."""
    weights = {
        other: each.to(getattr(torch, kind)) if each.is_floating_point() else each
        for other, each in demo_weights().items()
    }
    weights[name].view(-1)[-1] = float("nan")
    return weights


UNSUPPORTED: dict[str, tuple[Callable[[Path], Path], str, bool]] = {
    "a transducer": (
        lambda path: nemo(path, demo_config() | {"target": "nemo.asr.models.EncDecRNNTBPEModel"}),
        "it is a EncDecRNNTBPEModel; a CTC model is needed",
        False,
    ),
    "a conformer": (
        lambda path: nemo(path, changed(demo_config(), "encoder", {"_target_": "x.ConformerEncoder"})),
        "its encoder is ConformerEncoder, and the fused engine supports ConvASREncoder; model.engine=nemo may run it",
        True,
    ),
    "no preprocessor": (
        lambda path: nemo(path, {key: value for key, value in demo_config().items() if key != "preprocessor"}),
        "its preprocessor is None, and should be a mapping",
        False,
    ),
    "no vocabulary": (
        lambda path: nemo(path, changed(demo_config(), "decoder.vocabulary", None) | {"labels": None}),
        "it has neither a vocabulary nor a tokenizer",
        False,
    ),
    "a weight is missing": (
        lambda path: nemo(path, weights=without("encoder.encoder.1.mconv.1.conv.weight")),
        "its weights have no encoder.encoder.1.mconv.1.conv.weight",
        True,
    ),
    "a window of another name": (
        lambda path: nemo(path, weights=without("preprocessor.featurizer.window")),
        "its weights have no preprocessor.featurizer.window; model.engine=nemo may run it",
        True,
    ),
    "weights that are no numbers": (
        lambda path: nemo(path, weights=spoiled("decoder.decoder_layers.0.bias", "float32")),
        "its weights have in decoder.decoder_layers.0.bias values that are not finite",
        True,
    ),
    "half-precision weights that are no numbers": (
        lambda path: nemo(path, weights=spoiled("preprocessor.featurizer.window", "bfloat16")),
        "its weights have in preprocessor.featurizer.window values that are not finite",
        True,
    ),
    "weights of another format": (lambda path: nemo(path, weights=b"x" * 99), "its weights cannot be read: ", True),
    "a gzipped one": (
        lambda path: nemo(path, changed(demo_config(), "encoder.jasper.1.kernel", [9]), mode="w:gz"),
        "its encoder.encoder.1.mconv.0.conv.weight has the shape (160, 1, 5), and should have (160, 1, 9)",
        True,
    ),
}


@pytest.mark.parametrize("main", [plan.main, transcribe.main])
@pytest.mark.parametrize("kind", UNSUPPORTED)
def test_what_cannot_be_run_is_found_when_planning(kind: str, main: Any, job: Any, tmp_path: Path) -> None:
    make, message, is_for_nemo = UNSUPPORTED[kind]
    path = make(tmp_path / "m.nemo")
    for _ in range(2):  # the second time from what is remembered
        status, _, seen = job(f"model.name={path}", f"output.uri={tmp_path}/out", main=main)
        assert status == 2
        assert f"configuration: model.name: {path}: {message}" in seen
        assert ("model.engine=nemo" in seen) == ("model.engine=nemo" in message)
        assert "Traceback" not in seen
    assert not (tmp_path / "out").exists()
    if is_for_nemo:  # whose own loading decides
        resolve(str(path), None, {})
    else:
        with pytest.raises(UsageError, match=r"model\.name"):
            resolve(str(path), None, {})


def test_planning_reads_a_checkpoint_without_torch(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom actors.engine.models import resolve\n"
        "resolve('demo/citrinet_zh_demo.nemo', None, {}, is_fused=True)\nassert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, timeout=60)


def test_a_tokenizer_is_tried(tmp_path: Path) -> None:
    pieces = (make_tokenizer(tmp_path / "t") / "tokenizer.model").read_bytes()
    config = demo_config() | {"tokenizer": {"model_path": "nemo:t.model"}}
    models = {pieces: "has 64 pieces, and its head 274 classes", b"": "has 0 pieces"}
    models |= {pieces[:-90]: "is not a SentencePiece model", bytes(99): "is not a SentencePiece model"}
    for model, message in models.items():
        with pytest.raises(UsageError, match=message):
            convert(read_archive(nemo(tmp_path / "m.nemo", config, **{"t.model": model})))
    weights = demo_weights()
    for part in ("weight", "bias"):
        weights[f"decoder.decoder_layers.0.{part}"] = weights[f"decoder.decoder_layers.0.{part}"][:65].clone()
    assert convert(read_archive(nemo(tmp_path / "m.nemo", config, weights, **{"t.model": pieces})))[0]["classes"] == 65


def endless(path: Path, kind: str) -> Path:
    """A tar, gzipped where it is large, that would not end, or that two readers may read differently."""
    zeros = bytes(200_000_000)
    if kind == "weights":
        return nemo(path, weights=zeros, mode="w:gz")
    if kind == "gap":
        return nemo(path, mode="w:gz", a=zeros)
    if kind == "bz2":
        return nemo(path, mode="w:bz2")
    if kind == "twice":
        return nemo(path, **{f"other/{CONFIG}": b"target: x"})
    if kind == "cut":
        path.write_bytes(DEMO_MODEL.read_bytes()[:1_000_000])
        return path
    if kind == "gzip cut":
        whole = nemo(path, mode="w:gz").read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        return path
    with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT) as archive:
        if kind == "header":
            archive.addfile(member("a", 0, comment="x" * 100_000_000))
        if kind == "chain":  # each header is read by calling for the next
            for _ in range(1_500):
                archive.fileobj.write(member("a", 0, x="y").tobuf(tarfile.PAX_FORMAT)[:1024])  # type: ignore[union-attr]
        for number in range(5_000 if kind == "members" else 1):
            archive.addfile(member(f"m{number}", 0))
        if kind == "negative":
            header = member("n", 0)
            header.size = -1_536
            archive.fileobj.write(header.tobuf(tarfile.GNU_FORMAT))  # type: ignore[union-attr]
    return path


def member(name: str, size: int, **pax: str) -> tarfile.TarInfo:
    header = tarfile.TarInfo(name)
    header.size, header.pax_headers = size, pax
    return header


@pytest.mark.parametrize(
    "kind", ["weights", "gap", "header", "chain", "members", "negative", "twice", "bz2", "cut", "gzip cut"]
)
def test_tars_end(kind: str, tmp_path: Path) -> None:
    path = endless(tmp_path / "m.nemo", kind)
    with pytest.raises(UsageError, match=r"it is not a \.nemo file|has .* bytes, more than") as caught:
        read_archive(path)
    assert len(str(caught.value)) < 300


def test_no_file_at_all(tmp_path: Path) -> None:
    (tmp_path / "folder.nemo").mkdir()
    (tmp_path / "zero.nemo").symlink_to("/dev/zero")
    for name in ("folder.nemo", "zero.nemo", "none.nemo"):
        with pytest.raises(UsageError, match=r"it is a folder|it is not a regular file|it cannot be read"):
            read_config(tmp_path / name)


def test_a_gzipped_checkpoint_is_read_as_ever(tmp_path: Path) -> None:
    plain, gzipped = read_archive(DEMO_MODEL), read_archive(nemo(tmp_path / "m.nemo", mode="w:gz"))
    assert gzipped.config == plain.config
    assert all(tensor.equal(gzipped.weights[name]) for name, tensor in plain.weights.items())


def mutant(draw: random.Random, data: bytes) -> bytes:
    made = bytearray(data)
    for _ in range(draw.randint(1, 5)):
        at, kind = draw.randrange(len(made)), draw.random()
        if kind < 0.6:
            made[at] = draw.randrange(256)
        elif kind < 0.8:
            del made[at : at + draw.randint(1, 40)]
        else:
            made[at:at] = made[at : at + draw.randint(1, 200)]
    return bytes(made)


@pytest.mark.parametrize("part", [CONFIG, WEIGHTS, "tar"])
def test_mutants_convert_or_are_refused(part: str, tmp_path: Path) -> None:
    draw, path, converted = random.Random(part), tmp_path / "m.nemo", 0
    weights = read_archive(DEMO_MODEL).weights
    for _ in range(80):
        if part == "tar":
            path.write_bytes(mutant(draw, DEMO_MODEL.read_bytes()))
        else:
            spoiled = mutant(draw, demo_member(part))
            nemo(path, *(spoiled, b"x") if part == CONFIG else (None, spoiled))
        with contextlib.suppress(UsageError):
            convert(Archive(read_config(path), weights, None) if part == CONFIG else read_archive(path))
            converted += 1
    assert 0 < converted < 70


def test_other_content_than_planned_is_not_converted(tmp_path: Path) -> None:
    path = nemo(tmp_path / "m.nemo")
    sha256 = sha256_of(path)
    path.write_bytes(DEMO_MODEL.read_bytes() + bytes(io.DEFAULT_BUFFER_SIZE))
    with pytest.raises(UsageError, match=r"model\.name: m\.nemo: its content is not what the run was planned with"):
        checkpoint.load(path, sha256, tmp_path / "cache")
    assert not list((tmp_path / "cache" / "converted").glob("*.safetensors"))
