"""Weights are read as torch reads them, to the bit, or refused in a sentence; what a pickle asks for is never done."""

import io
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import demo_config, demo_member, demo_weights, nemo, saved

from actors.engine.citrinet.archive import WEIGHTS, Archive, read_archive
from actors.engine.citrinet.conversion import convert
from actors.engine.citrinet.weights import Weights
from actors.schema import UsageError

ONE = "encoder.encoder.1.mconv.1.conv.weight"
NORM = "encoder.encoder.1.mconv.2"


def test_they_are_what_torch_reads() -> None:
    base = torch.arange(60.0).reshape(3, 4, 5)
    theirs = OrderedDict(
        half=base.half(),
        bfloat=base.bfloat16(),
        double=base.double(),
        view=base[1:, ::2, 1:],
        turned=base.mT,
        parameter=torch.nn.Parameter(base + 1),
        count=torch.tensor(7),
        none=torch.empty(0, 3),
        flags=base > 3,
    )
    for given in (theirs, demo_weights()):
        for how in ({}, {"pickle_protocol": 4}):
            ours, wanted = Weights(io.BytesIO(saved(given, **how))), given
            assert list(ours) == list(wanted)
            for name, tensor in wanted.items():
                assert (ours[name].dtype, ours[name].stride()) == (tensor.dtype, tensor.stride())
                assert torch.equal(ours[name], tensor.detach())


def expanded(shape: tuple[int, ...]) -> torch.Tensor:
    return torch.zeros(1).expand(shape)


STRANGE: dict[str, Callable[[], Any]] = {
    "strings": lambda: dict.fromkeys(demo_weights(), "x"),
    "numbers": lambda: dict.fromkeys(demo_weights(), 1.0),
    "nested": lambda: {"state_dict": demo_weights()},
    "a list": lambda: list(demo_weights().values()),
    "a tensor": lambda: torch.zeros(3),
    "nothing": dict,
    "names that are numbers": lambda: dict(enumerate(demo_weights().values())),
    "4 TB by strides": lambda: demo_weights() | {ONE: expanded((1_000_000, 1_000_000, 1))},
    "a little by strides": lambda: demo_weights() | {ONE: expanded((160, 160, 1))},
    "sparse": lambda: demo_weights() | {ONE: torch.zeros(160, 160, 1).to_sparse()},
    "compressed rows": lambda: demo_weights() | {ONE: torch.zeros(160, 160).to_sparse_csr()},
    "quantized": lambda: demo_weights() | {ONE: torch.quantize_per_tensor(torch.zeros(160, 160, 1), 1, 0, torch.qint8)},
    "float8": lambda: demo_weights() | {ONE: torch.zeros(160, 160, 1).to(torch.float8_e5m2)},
    "meta": lambda: demo_weights() | {ONE: torch.empty(10**6, 10**6, device="meta")},
    "complex": lambda: demo_weights() | {ONE: torch.zeros(160, 160, 1, dtype=torch.complex64)},
    "integers": lambda: demo_weights() | {ONE: torch.zeros(160, 160, 1, dtype=torch.int64)},
    "bytearray": lambda: {"x": bytearray(9)},
    "not a number": lambda: demo_weights() | {ONE: torch.full((160, 160, 1), torch.nan)},
    "infinite": lambda: demo_weights() | {"decoder.decoder_layers.0.bias": torch.full((274,), torch.inf)},
    "negative variance": lambda: demo_weights() | {f"{NORM}.running_var": torch.full((160,), -1.0)},
    "too large for float32": lambda: demo_weights() | {ONE: torch.full((160, 160, 1), 1e300, dtype=torch.float64)},
}


@pytest.mark.filterwarnings("ignore::UserWarning")  # of torch, that such tensors are new or old
@pytest.mark.parametrize("kind", STRANGE)
def test_strange_weights_are_refused(kind: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        convert(read_archive(nemo(tmp_path / "m.nemo", weights=STRANGE[kind]())))
    assert str(caught.value).startswith("its ")
    assert len(str(caught.value)) < 300


def test_every_shape_is_checked() -> None:
    """A row more, a row less, another dimension: of each tensor that an engine is made of."""
    weights, used = demo_weights(), 0
    for name, tensor in weights.items():
        if name.endswith("num_batches_tracked"):
            continue
        used += 1
        shapes = [(*tensor.shape, 1), tuple(tensor.shape[1:]), (tensor.shape[0] + 1, *tensor.shape[1:])]
        shapes += [(*tensor.shape[:-1], tensor.shape[-1] + 2), (0, *tensor.shape[1:])]
        for shape in shapes:
            with pytest.raises(UsageError, match=r"^its "):
                convert(Archive(demo_config(), weights | {name: torch.zeros(shape)}, None))
        with pytest.raises(UsageError, match=f"its weights have no {name}"):
            convert(Archive(demo_config(), {other: each for other, each in weights.items() if other != name}, None))
    assert used > 100


def rewritten(change: Callable[[str, bytes], bytes], how: int = zipfile.ZIP_STORED) -> bytes:
    """The demo's weights with other records in their zip."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(demo_member(WEIGHTS))) as old, zipfile.ZipFile(file, "w", how) as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return file.getvalue()


def with_pickle(data: bytes) -> bytes:
    return rewritten(lambda name, old: data if name.endswith("data.pkl") else old)


def text(word: str) -> bytes:
    return b"X" + struct.pack("<I", len(word)) + word.encode()


COPIES = b"".join([b"\x80\x02(", b"".join(text(str(n)) for n in range(20_000)), b"tq\x00"])  # a tuple, remembered
BOMBS = {
    "bytes of any number": b"\x80\x02c__builtin__\nbytearray\n\x8a\x06\x00\x00\x00\x00\x00\x10\x85R.",
    "copies of copies": COPIES + b"ccollections\nOrderedDict\nq\x01" + b"h\x01h\x00\x85R" * 5_000 + b".",
    "a hash that takes for ever": b"\x80\x02})" + b"q\x00h\x00\x86" * 60 + b"Ns.",
    "deep": b"\x80\x02})" + b"\x85" * 200_000 + b"Ns.",
    "remembered far away": b"\x80\x02}r\xff\xff\xff\xff.",
    "a long number": b"\x80\x02\x8b\xff\xff\xff\x7f.",
    "a word of 2 GB": b"\x80\x02X\xff\xff\xff\x7fx.",
    "nothing to take": b"\x80\x02R.",
    "no end": b"\x80\x02}",
    "code": pickle.dumps({"x": print}, 2),
    "a call": pickle.dumps({"x": io.StringIO("x")}, 2),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_what_a_pickle_asks_for_is_not_done(kind: str) -> None:
    with pytest.raises(UsageError) as caught:
        Weights(io.BytesIO(with_pickle(BOMBS[kind])))
    assert len(str(caught.value)) < 300


def crowd() -> bytes:
    """A zip whose list of records is larger than all that is in them."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for number in range(25_000):
            archive.writestr(f"{number}" * 30, b"")
    return file.getvalue()


ZIPS: dict[str, Callable[[], bytes]] = {
    "compressed": lambda: rewritten(lambda name, old: old, zipfile.ZIP_DEFLATED),
    "a compressed record that grows": lambda: rewritten(
        lambda name, old: bytes(300_000_000) if name.endswith("data/3") else old, zipfile.ZIP_DEFLATED
    ),
    "a shorter record": lambda: rewritten(lambda name, old: old[:-4] if name.endswith("data/3") else old),
    "a longer pickle": lambda: with_pickle(bytes(5_000_000)),
    "another order": lambda: rewritten(lambda name, old: b"big" if name.endswith("byteorder") else old),
    "cut": lambda: demo_member(WEIGHTS)[:-500],
    "records without number": crowd,
    "before zips": lambda: saved(demo_weights(), _use_new_zipfile_serialization=False),
    "no zip": lambda: b"x" * 1_000,
    "empty": lambda: b"",
}


@pytest.mark.parametrize("kind", ZIPS)
def test_records_are_as_they_are_told(kind: str) -> None:
    with pytest.raises(UsageError) as caught:
        Weights(io.BytesIO(ZIPS[kind]()))
    assert len(str(caught.value)) < 300
