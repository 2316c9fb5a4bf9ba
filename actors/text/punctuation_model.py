"""A model of punctuation, checked before it is run: FunASR's CT-transformer in the form that sherpa-onnx publishes.

Its form (https://k2-fsa.github.io/sherpa/onnx/punctuation/pretrained_models.html): int32 `inputs` (N, T), ids of
tokens, and `text_lengths` (N,) go in; float32 (N, T, P) comes out, one score for each mark after each token. The
metadata holds `tokens` and `punctuations`, joined by |, `vocab_size` and `unk_symbol`.

A file from elsewhere is data: it is looked through here, so that what is wrong is said in a sentence, and nothing is
read but the file itself. The bytes that were checked are those that run.
"""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from actors.extras import how_to_install
from actors.schema import UsageError

EXTRA = f"punctuation needs the packages onnx and onnxruntime: {how_to_install('punctuation')}"
#: Of a model's file. The published one has 292 MB; protobuf ends at 2 GiB.
MAX_BYTES = 1 << 30
#: Of kinds of marks; the published one has 6.
MAX_MARKS = 64
#: Operators that come with onnxruntime. Others would want a library from whoever made the file.
DOMAINS = {"", "ai.onnx", "ai.onnx.ml", "com.microsoft"}
STOP, QUESTION, COMMA, PAUSE, NONE = "。", "？", "，", "、", "_"


class PunctuationModel:
    """Scores of marks after tokens; one thread, on the CPU."""

    def __init__(self, path: str):
        """Raises UsageError, which says what is wrong, where the file is not such a model."""
        try:
            import onnx  # noqa: F401
            import onnxruntime
        except ModuleNotFoundError as error:
            raise UsageError(EXTRA) from error
        content = _content(Path(path), path)
        try:
            self._ids, self._unknown, self.marks = _checked(content)
        except _Wrong as wrong:
            raise UsageError(f"{path} is no model of punctuation that can be used: {wrong}") from None
        self.faults = _faults()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1  # as many processes as cores are the job's way
        options.log_severity_level = 4
        try:  # no fallback: it prints, and tries the same again
            self._session = onnxruntime.InferenceSession(
                content, options, providers=["CPUExecutionProvider"], enable_fallback=0
            )
            self(["a", "b", "c"])
        except self.faults as error:
            raise UsageError(f"{path} is no model of punctuation that can be run: {error}") from None

    def __call__(self, tokens: Sequence[str]) -> npt.NDArray[np.int64]:
        """(T,) the index in `marks` of the mark after each token. Raises one of `faults`."""
        ids = [self._ids.get(token.lower(), self._unknown) for token in tokens]
        given = {"inputs": np.array([ids], np.int32), "text_lengths": np.array([len(ids)], np.int32)}
        (scores,) = self._session.run(None, given)
        if scores.shape != (1, len(tokens), len(self.marks)):
            raise ValueError(f"for {len(tokens)} tokens it gives scores of the shape {scores.shape}")
        best: npt.NDArray[np.int64] = scores[0].argmax(axis=1)
        return best


class _Wrong(Exception):
    """What is wrong with a model, as a clause."""


def _faults() -> tuple[type[Exception], ...]:
    """What onnxruntime raises; its classes have no common one of their own."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    kinds = [getattr(state, name) for name in dir(state)]
    own = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Exception)]
    return (*own, ValueError, RuntimeError, MemoryError)


def _content(file: Path, path: str) -> bytes:
    try:
        size = file.stat().st_size
        if not file.is_file():
            raise UsageError(f"{path} is not a file")
        if size > MAX_BYTES:
            raise UsageError(f"{path} has {size:,} bytes; a model of punctuation has at most {MAX_BYTES:,}")
        return file.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from error


def _checked(content: bytes) -> tuple[dict[str, int], int, list[str]]:
    """The id of each token, that of unknown ones, and the marks. Raises _Wrong."""
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load_model_from_string(content)
    except DecodeError:
        raise _Wrong("it is not an ONNX file, or not all of one") from None
    if not model.graph.node:
        raise _Wrong("it is not an ONNX file, or not all of one")
    foreign = {str(each.domain) for each in (*model.opset_import, *_nodes(model))}
    if foreign - DOMAINS or model.functions:
        raise _Wrong(f"it uses operators of its own ({', '.join(sorted(foreign - DOMAINS)) or 'functions'})")
    for tensor in _tensors(model):
        if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
            raise _Wrong(f"its weights {tensor.name!r} lie outside the file")
        if any(size < 0 for size in tensor.dims) or math.prod(tensor.dims) > 2 * len(content):  # int4 are the smallest
            raise _Wrong(f"its weights {tensor.name!r} of the shape {list(tensor.dims)} are more than the file holds")
    known = {each.name for each in model.graph.initializer}
    inputs = [_signature(each) for each in model.graph.input if each.name not in known]
    if [each[:3] for each in inputs] != [("inputs", "int32", 2), ("text_lengths", "int32", 1)]:
        raise _Wrong(
            f"it takes {_listed(inputs)}, where inputs (int32, 2 axes) and text_lengths (int32, 1 axis) are due"
        )
    outputs = [_signature(each) for each in model.graph.output]
    if [each[1:3] for each in outputs] != [("float32", 3)]:
        raise _Wrong(f"it gives {_listed(outputs)}, where scores (float32, 3 axes) are due")
    metadata = {each.key: each.value for each in model.metadata_props}
    if not all(isinstance(each, str) for each in metadata.values()):  # protobuf gives what is not UTF-8 as bytes
        raise _Wrong("its metadata is not UTF-8")
    return _vocabulary(metadata, outputs[0][3])


def _vocabulary(metadata: dict[str, str], scores: int) -> tuple[dict[str, int], int, list[str]]:
    for key in ("tokens", "vocab_size", "punctuations", "unk_symbol"):
        if not metadata.get(key):
            raise _Wrong(f"its metadata has no {key}")
    tokens, marks = metadata["tokens"].split("|"), metadata["punctuations"].split("|")
    if metadata["vocab_size"] != str(len(tokens)):
        raise _Wrong(f"its vocab_size is {metadata['vocab_size'][:20]}, but it has {len(tokens):,} tokens")
    ids = {token: number for number, token in enumerate(tokens)}
    if metadata["unk_symbol"] not in ids:
        raise _Wrong(f"its unk_symbol {metadata['unk_symbol'][:20]!r} is none of its tokens")
    missing = [mark for mark in (NONE, COMMA, STOP, QUESTION, PAUSE) if mark not in marks]
    if missing:
        raise _Wrong(f"its punctuations lack {' '.join(missing)}")
    if len(marks) > MAX_MARKS or scores != len(marks):
        raise _Wrong(f"it scores {scores or 'any number of'} marks, but has {len(marks)} punctuations")
    return ids, ids[metadata["unk_symbol"]], marks


def _signature(value: Any) -> tuple[str, str, int, int]:
    """Name, type, number of axes, and the size of the last one (0 where it is not fixed)."""
    import onnx

    tensor = value.type.tensor_type
    kind = {onnx.TensorProto.FLOAT: "float32", onnx.TensorProto.INT32: "int32"}.get(tensor.elem_type, "another type")
    dims = tensor.shape.dim
    return str(value.name), kind, len(dims), dims[-1].dim_value if dims else 0


def _listed(signatures: list[tuple[str, str, int, int]]) -> str:
    return ", ".join(f"{name[:40]} ({kind}, {axes} axes)" for name, kind, axes, _ in signatures[:4]) or "nothing"


def _nodes(model: Any) -> Iterator[Any]:
    """All nodes, those of inner graphs too."""
    graphs = [model.graph]
    while graphs:
        for node in graphs.pop().node:
            yield node
            for attribute in node.attribute:
                graphs += [attribute.g] * attribute.HasField("g") + list(attribute.graphs)


def _tensors(model: Any) -> Iterator[Any]:
    """All weights, those in attributes and inner graphs too."""
    yield from model.graph.initializer
    for sparse in model.graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in _nodes(model):
        for attribute in node.attribute:
            graphs = [attribute.g] * attribute.HasField("g") + list(attribute.graphs)
            sparse = [attribute.sparse_tensor] * attribute.HasField("sparse_tensor") + list(attribute.sparse_tensors)
            sparse += [each for graph in graphs for each in graph.sparse_initializer]
            yield from [attribute.t] * attribute.HasField("t") + list(attribute.tensors)
            yield from (each for graph in graphs for each in graph.initializer)
            yield from (part for each in sparse for part in (each.values, each.indices))
