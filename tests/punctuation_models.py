"""Small models of punctuation, of the form that sherpa-onnx publishes: a table says which mark follows a token."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

MARKS = ["<unk>", "_", "，", "。", "？", "、"]


def table_model(marks: Mapping[str, str], **metadata: str) -> Any:
    """A model that puts `marks[token]` after a token, and nothing after others; of its metadata what is given."""
    tokens = [*marks, "<unk>"]
    scores = np.zeros((len(tokens), len(MARKS)), np.float32)
    for row, token in enumerate(tokens):
        scores[row, MARKS.index(marks.get(token, "_"))] = 1
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "inputs"], ["logits"])],
        "punctuation",
        [
            helper.make_tensor_value_info("inputs", TensorProto.INT32, ["N", "T"]),
            helper.make_tensor_value_info("text_lengths", TensorProto.INT32, ["N"]),
        ],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", "T", len(MARKS)])],
        [numpy_helper.from_array(scores, "table")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    own = {
        "tokens": "|".join(tokens),
        "vocab_size": str(len(tokens)),
        "punctuations": "|".join(MARKS),
        "unk_symbol": "<unk>",
    }
    helper.set_model_props(model, {key: value for key, value in (own | metadata).items() if value != "absent"})
    return model


def written(model: Any, folder: Path, change: Callable[[bytes], bytes] = bytes) -> str:
    """The path of a file that holds a model, with its bytes changed."""
    path = folder / "punctuation.onnx"
    path.write_bytes(change(model.SerializeToString()))
    return str(path)
