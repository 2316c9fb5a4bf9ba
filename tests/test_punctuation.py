"""Punctuation by a model: what is added, where segments meet, and which files are refused."""

import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sherpa_onnx
from conftest import ROOT
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from punctuation_models import MARKS, table_model, written

from actors.schema import UsageError
from actors.text.punctuation import STEP, WINDOW, Punctuator
from actors.text.punctuation_model import PunctuationModel

TABLE = {"了": "，", "好": "。", "吗": "？", "红": "、", "好的": "。", "world": "，", "end": "。"}
ADDED = str.maketrans("", "", "，。？、")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    return written(table_model(TABLE), tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def punctuate(path: str) -> Punctuator:
    return Punctuator(path)


def test_marks_stand_after_their_tokens(punctuate: Punctuator) -> None:
    assert punctuate(["我来了你好吗我很好红黄蓝"]) == ["我来了，你好。吗？我很好。红、黄蓝。"]


def test_a_cut_is_no_sentences_end(punctuate: Punctuator) -> None:
    assert punctuate(["我来", "了你", "", "走吧他", "说"]) == ["我来", "了，你", "", "走吧他", "说。"]


def test_a_comma_at_the_end_of_a_recording_ends_it(punctuate: Punctuator) -> None:
    assert punctuate(["我来了"]) == ["我来了。"]
    assert punctuate(["你来吗"]) == ["你来吗？"]


def test_words_and_blanks_stay(punctuate: Punctuator) -> None:
    assert punctuate(["Hello World  it is 30.5% 在 a.b@c.de END\n", " 2026年 "]) == [
        "Hello World，  it is 30.5% 在 a.b@c.de END。\n",
        " 2026年。 ",
    ]


def test_what_is_punctuated_is_not_again(punctuate: Punctuator) -> None:
    assert punctuate(["我来了，你好。吗？world, end."]) == ["我来了，你好。吗？world, end."]


@pytest.mark.parametrize("segments", [[], [""], ["", " ", "\n"]])
def test_nothing_stays_nothing(punctuate: Punctuator, segments: list[str]) -> None:
    assert punctuate(segments) == segments


@given(st.lists(st.text(st.one_of(st.sampled_from("了好吗红天 aW"), st.characters())), max_size=6))
@example(["\ud800\x00", "e\u0301好\u0301", "了" * 300])
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_only_marks_are_added(punctuate: Punctuator, segments: list[str]) -> None:
    done = punctuate(segments)
    assert [each.translate(ADDED) for each in done] == [each.translate(ADDED) for each in segments]
    for before, after in zip(segments, done, strict=True):
        rest = iter(after)
        assert all(character in rest for character in before)  # in order, none lost


@given(st.lists(st.text("了好吗红天地", min_size=1, max_size=180), min_size=1, max_size=8))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_however_it_is_cut(punctuate: Punctuator, segments: list[str]) -> None:
    """The table's marks, whatever the windows; sentences of any length, also of one token and of a thousand."""
    whole = "".join(segments)
    due = "".join(character + TABLE.get(character, "") for character in whole)
    due = due if due[-1] in "。？" else due.rstrip("，、") + "。"
    assert "".join(punctuate(segments)) == due


def test_windows_are_bounded_and_few(punctuate: Punctuator, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    scores = PunctuationModel.__call__

    def counted(model: PunctuationModel, tokens: list[str]) -> Any:
        seen.append(len(tokens))
        return scores(model, tokens)

    monkeypatch.setattr(PunctuationModel, "__call__", counted)
    for text in ("天" * 20_000, "好" + "天" * 20_000, "天好" * 10_000, ("天" * 99 + "了") * 200):
        seen.clear()
        punctuate([text])
        assert max(seen) <= WINDOW
        assert sum(seen) <= len(text) * WINDOW / STEP + WINDOW


def test_sherpa_onnx_puts_the_same_marks(path: str, punctuate: Punctuator) -> None:
    config = sherpa_onnx.OfflinePunctuationConfig(
        model=sherpa_onnx.OfflinePunctuationModelConfig(ct_transformer=path, num_threads=1)
    )
    theirs = sherpa_onnx.OfflinePunctuation(config).add_punctuation
    for text in ("我来了你在吗我很好红黄蓝", "天地" * 40 + "了天地" * 30 + "好天地", "天地吗天天地地红" * 60):
        assert punctuate([text]) == [theirs(text)]
    assert theirs("降 30.5%") == "降30 . 5 %。"  # why it is not what runs here
    assert punctuate(["降 30.5%"]) == ["降 30.5%。"]


def ended(model: Any) -> Any:
    """A model that takes the end of what it sees for that of a sentence, as real ones do."""
    constants = {"zero": [0], "last": [-1], "far": [1 << 40], "along": [1]}
    stop = np.eye(len(MARKS), dtype=np.float32)[[MARKS.index("。")]]
    model.graph.initializer.extend(numpy_helper.from_array(np.array(each), name) for name, each in constants.items())
    model.graph.initializer.append(numpy_helper.from_array(stop, "stop"))
    del model.graph.node[:]
    model.graph.node.extend(
        [
            helper.make_node("Slice", ["inputs", "zero", "last", "along"], ["before"]),
            helper.make_node("Slice", ["inputs", "last", "far", "along"], ["final"]),
            helper.make_node("Sub", ["final", "final"], ["first_row"]),
            helper.make_node("Gather", ["table", "before"], ["scores_before"]),
            helper.make_node("Gather", ["stop", "first_row"], ["scores_of_final"]),
            helper.make_node("Concat", ["scores_before", "scores_of_final"], ["logits"], axis=1),
        ]
    )
    return model


@pytest.mark.parametrize("length", [1, 2, WINDOW - 1, WINDOW, WINDOW + 1, 5 * STEP, 1234])
def test_the_end_of_a_window_is_no_sentences_end(tmp_path: Path, length: int) -> None:
    punctuate = Punctuator(written(ended(table_model(TABLE)), tmp_path))
    assert punctuate(["天" * length]) == ["天" * length + "。"]


def failing(marks: dict[str, str]) -> Any:
    """A model that fails on the token `错`: its id is outside of the table."""
    return table_model(marks, tokens="|".join([*marks, "<unk>", "错"]), vocab_size=str(len(marks) + 2))


def test_what_the_model_fails_on_stays(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    punctuate = Punctuator(written(failing(TABLE), tmp_path))
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert punctuate(["我来了", "错了"]) == ["我来了", "错了"]
        assert punctuate(["我来了", "你好"]) == ["我来了，", "你好。"]
    assert len(caplog.records) == 1
    assert "the model of punctuation failed" in caplog.text


def retyped(model: Any) -> None:
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.INT64


def renamed(model: Any) -> None:
    model.graph.input[0].name = model.graph.node[0].input[1] = "ids"


def of_integers(model: Any) -> None:
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.INT32


def flat(model: Any) -> None:
    del model.graph.output[0].type.tensor_type.shape.dim[2:]


def of_seven(model: Any) -> None:
    model.graph.output[0].type.tensor_type.shape.dim[2].dim_value = 7


def outside(model: Any) -> None:
    weights = model.graph.initializer[0]
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    weights.external_data.add(key="location", value="/etc/passwd")


def huge(model: Any) -> None:
    model.graph.initializer[0].dims[:] = [1 << 40, 1 << 20]


def negative(model: Any) -> None:
    model.graph.initializer[0].dims[:] = [-1, 6]


def hidden_outside(model: Any) -> None:
    """In a constant of a branch."""
    weights = numpy_helper.from_array(numpy_helper.to_array(model.graph.initializer[0]), "inner")
    constant = helper.make_node("Constant", [], ["inner"], value=weights)
    inner = helper.make_graph([constant], "branch", [], [helper.make_tensor_value_info("inner", 1, None)])
    model.graph.node.append(helper.make_node("If", ["yes"], ["unused"], then_branch=inner, else_branch=inner))
    held = model.graph.node[-1].attribute[0].g.node[0].attribute[0].t
    held.ClearField("raw_data")
    held.data_location = TensorProto.EXTERNAL
    held.external_data.add(key="location", value="../weights.bin")


def of_its_own(model: Any) -> None:
    model.graph.node[0].domain = "org.example"
    model.opset_import.append(helper.make_opsetid("org.example", 1))


def unrunnable(model: Any) -> None:
    model.graph.node[0].input[1] = "nowhere"


def wrongly_shaped(model: Any) -> None:
    """Says (N, T, 6), and gives (6, N, T): what only a run shows."""
    model.graph.node[0].output[0] = "straight"
    model.graph.node.append(helper.make_node("Transpose", ["straight"], ["logits"], perm=[2, 0, 1]))
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_param = "A"
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_param = "B"


CHANGED: list[tuple[Callable[[Any], None], str]] = [
    (retyped, "it takes inputs (another type, 2 axes)"),
    (renamed, "it takes ids (int32, 2 axes)"),
    (of_integers, "it gives logits (int32, 3 axes)"),
    (flat, "it gives logits (float32, 2 axes)"),
    (of_seven, "it scores 7 marks, but has 6 punctuations"),
    (outside, "its weights 'table' lie outside the file"),
    (hidden_outside, "lie outside the file"),
    (huge, "are more than the file holds"),
    (negative, "are more than the file holds"),
    (of_its_own, "it uses operators of its own (org.example)"),
    (unrunnable, "is no model of punctuation that can be run"),
    (wrongly_shaped, "is no model of punctuation that can be run"),
]
METADATA = [
    ({"tokens": "absent"}, "its metadata has no tokens"),
    ({"vocab_size": "absent"}, "its metadata has no vocab_size"),
    ({"punctuations": "absent"}, "its metadata has no punctuations"),
    ({"unk_symbol": "absent"}, "its metadata has no unk_symbol"),
    ({"vocab_size": "9" * 5000}, "its vocab_size is 9999"),
    ({"vocab_size": "many"}, "its vocab_size is many, but it has 8 tokens"),
    ({"unk_symbol": "<none>"}, "its unk_symbol '<none>' is none of its tokens"),
    ({"punctuations": "a|b|c|d|e|f"}, "its punctuations lack _ ， 。 ？ 、"),
    ({"punctuations": "|".join([*MARKS, "！"])}, "it scores 6 marks, but has 7 punctuations"),
]


@pytest.mark.parametrize(("change", "why"), CHANGED, ids=lambda each: getattr(each, "__name__", ""))
def test_a_model_of_another_form_is_refused(tmp_path: Path, change: Callable[[Any], None], why: str) -> None:
    model = table_model(TABLE)
    change(model)
    with pytest.raises(UsageError) as refused:
        Punctuator(written(model, tmp_path))
    assert why in str(refused.value)


@pytest.mark.parametrize(("metadata", "why"), METADATA, ids=str)
def test_wrong_metadata_are_refused(tmp_path: Path, metadata: dict[str, str], why: str) -> None:
    with pytest.raises(UsageError) as refused:
        Punctuator(written(table_model(TABLE, **metadata), tmp_path))
    assert why in str(refused.value)
    assert len(str(refused.value)) < 500


def test_metadata_that_are_no_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="its metadata is not UTF-8"):
        Punctuator(written(table_model(TABLE), tmp_path, lambda whole: whole.replace("了".encode(), b"\xff\xff\xff")))


@pytest.mark.parametrize(
    "change",
    [
        lambda _: b"",
        lambda _: b"RIFF" * 1000,
        lambda _: b"\x00" * 99,
        lambda whole: whole[: len(whole) // 2],
        lambda _: b"{}",
    ],
    ids=["empty", "sound", "zeros", "half", "json"],
)
def test_what_is_not_onnx_is_refused(tmp_path: Path, change: Callable[[bytes], bytes]) -> None:
    with pytest.raises(UsageError, match="is no model of punctuation that can be used"):
        Punctuator(written(table_model(TABLE), tmp_path, change))


def test_what_is_no_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        Punctuator(str(tmp_path / "none.onnx"))
    with pytest.raises(UsageError, match="is not a file"):
        Punctuator(str(tmp_path))
    monkeypatch.setattr("actors.text.punctuation_model.MAX_BYTES", 100)
    with pytest.raises(UsageError, match="has at most 100"):
        Punctuator(written(table_model(TABLE), tmp_path))


@example(369, 2, b"\x00\x00")
@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 10_000), st.integers(1, 8), st.binary(min_size=1, max_size=8))
@example(3852, 1, b"\0")  # the marks are no UTF-8
def test_damaged_models_are_refused_or_run(tmp_path: Path, at: int, cut: int, put: bytes) -> None:
    def damaged(whole: bytes) -> bytes:
        place = at % len(whole)
        return whole[:place] + put + whole[place + cut :]

    try:
        punctuate = Punctuator(written(table_model(TABLE), tmp_path, damaged))
    except UsageError:
        return
    assert punctuate(["我来了"])[0].translate(ADDED) == "我来了"


def test_missing_packages_name_the_extra(path: str) -> None:
    program = (
        "import sys\nfrom actors.text.punctuation import Punctuator\nsys.modules['onnxruntime'] = None\n"
        "from actors.schema import UsageError\n"
        f"try:\n    Punctuator({path!r})\nexcept UsageError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "[punctuation]" in done.stdout
