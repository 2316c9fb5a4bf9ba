"""Values as people type them, on the command line and in YAML: taken as they are, or refused by a sentence of ours."""

import os
from pathlib import Path

import pytest

from jobs.cli.config import Config, ConfigError
from jobs.cli.loading import load

BASE = "output: {uri: b}\nmodel: {name: c}\n"
TEXTS = [
    "/data/calls #3",
    " /data/a  b ",
    "*.wav",
    "**/a*.wav",
    "@a",
    "%a",
    "`a`",
    "!a",
    "&a",
    "|",
    ">",
    "- a",
    "? a",
    "a: b",
    "a:b::c",
    "{b}.wav",
    "[ab]*.wav",
    "it's",
    "a\tb",
    "\ta",
    "010",
    "1_000",
    "12:30:00",
    "2026-01-02",
    "1.50",
    "yes",
    "no",
    "on",
    "true",
    "null.wav",
    "0x10",
    "a\nb",
    'a"b"',
    "C:\\data\\new",
    "---",
    "#",
]


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("HOME", "/home/someone")
    return "/home/someone"


def loaded(tmp_path: Path, text: str, *overrides: str) -> Config:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    return load(str(path), list(overrides))


def problem(tmp_path: Path, text: str, *overrides: str) -> str:
    with pytest.raises(ConfigError) as told:
        loaded(tmp_path, text, *overrides)
    message = str(told.value)
    for word in ("expected <", "while parsing", "while scanning", "Input should", "found character", "pydantic"):
        assert word not in message
    return message.replace(f"{tmp_path}/", "")


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_on_the_command_line_is_as_typed(tmp_path: Path, text: str) -> None:
    config = loaded(tmp_path, "input: {uri: a}\n" + BASE, f"input.uri={text}", f"output.uri={text}")
    assert (config.input.uri, config.output.uri) == (text, text)
    config = loaded(tmp_path, "input: {uri: a}\n" + BASE, f"input.include={text}", f"evaluate.group={text}")
    assert (config.input.include, config.evaluate.group) == ([text], text)


@pytest.mark.parametrize(
    ("typed", "uris"),
    [
        ("[a, b]", ["a", "b"]),
        ("[*.wav, 'b, c', \"d\\te\", a #3, @x]", ["*.wav", "b, c", "d\te", "a #3", "@x"]),
        (
            "[s3://b/{0..3}.tar, audio__OP_0..1_CL_.tar, {a,b}.wav]",
            ["s3://b/{0..3}.tar", "audio__OP_0..1_CL_.tar", "{a,b}.wav"],
        ),
        ("[it's, 010, yes,]", ["it's", "010", "yes"]),
        ("'[a]'", "[a]"),
        ('"x"', "x"),
        ("'it''s'", "it's"),
        ("'a' or 'b'", "'a' or 'b'"),
        ("'", "'"),
    ],
)
def test_lists_and_quotes_on_the_command_line(tmp_path: Path, typed: str, uris: object) -> None:
    assert loaded(tmp_path, "input: {uri: a}\n" + BASE, f"input.uri={typed}").input.uri == uris


@pytest.mark.parametrize(
    "text",
    [
        each
        for each in TEXTS
        if each.strip() == each and not set("#!&|>?{[\n\t'") & set(each) and each not in ("- a", "a: b", "---")
    ],
)
def test_a_text_in_yaml_is_as_typed(tmp_path: Path, text: str) -> None:
    config = loaded(tmp_path, f"input:\n  uri: {text}  # all\n  include: [{text}, b]\n" + BASE)
    assert (config.input.uri, config.input.include) == (text, [text, "b"])
    assert loaded(tmp_path, f"input:\n  uri:\n  - {text}\n  - '*'\n" + BASE).input.uri == [text, "*"]


def test_anchors_and_empty_sections(tmp_path: Path) -> None:
    text = "input: {uri: a, storage_options: &s {anon: true, key: 'env:K'}}\nmodel: {name: c}\nexport:\n"
    config = loaded(tmp_path, text + "output: {uri: b, storage_options: *s}\n")
    assert config.output.storage_options == {"anon": True, "key": "env:K"}


def test_one_item_is_a_list(tmp_path: Path) -> None:
    text = "input: {uri: a, exclude: '*.mp3'}\nerrors: {retry: missing}\n" + BASE
    config = loaded(tmp_path, text, "input.allowed_roots=/b")
    assert (config.input.exclude, config.errors.retry) == (["*.mp3"], ["missing"])
    assert config.input.allowed_roots == ["/b"]


def test_options_are_plain(tmp_path: Path) -> None:
    typed = "{anon: False, port: 9000, user: 010, date: 2026-01-02, time: 12:30:00, f: 1.5, e: 1e5, n: null, q: '7'}"
    expected = {"anon": False, "port": 9000, "user": "010", "date": "2026-01-02", "time": "12:30:00"}
    expected |= {"f": 1.5, "e": "1e5", "n": None, "q": "7"}
    text = "input: {uri: a}\n" + BASE
    assert loaded(tmp_path, text, f"input.storage_options={typed}").input.storage_options == expected
    nested = loaded(tmp_path, text, "input.storage_options.client_kwargs.x=a #3", "input.storage_options.port=1")
    assert nested.input.storage_options == {"client_kwargs": {"x": "a #3"}, "port": 1}
    assert 'write true or false, or "no"' in problem(tmp_path, text, "input.storage_options.anon=no")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("input.limit=010", "input.limit: must be a whole number above 0 or null, not '010'; write 10"),
        ("input.limit=1_000", "not '1_000'; write 1000"),
        ("input.limit=1,000", "not '1,000'; write 1000"),
        ("input.limit=12:30:00", "input.limit: must be a whole number above 0 or null, not '12:30:00'"),
        ("input.limit=true", "must be a whole number above 0 or null, not 'true'"),
        ("input.limit=1.5", "must be a whole number above 0 or null, not 1.5"),
        ("input.limit=[1]", "must be a whole number above 0 or null, not '[1]'"),
        ("audio.max_hours=nan", "audio.max_hours: must be a number above 0, not 'nan'"),
        ("audio.max_hours=.NaN", "not '.NaN'"),
        ("audio.max_hours=inf", "not 'inf'"),
        ("audio.max_hours=1e400", "must be a number above 0, at most 1,000,000,000, not inf"),
        ("audio.max_hours=2e9", "at most 1,000,000,000, not 2000000000.0"),
        ("audio.max_hours=", "audio.max_hours: must be a number above 0"),
        ("output.tokens=1", "output.tokens: must be 'true' or 'false', not '1'"),
        ("batch.max_padded_seconds=much", "must be 'auto' or a number above 0, not 'much'"),
        ("audio.channel=-1", "must be 'average', 'each' or a whole number from 0, not -1"),
        ("ray.actors=[1, 2, 3]", "ray.actors: must be 'auto' or a list of two whole numbers"),
        ("ray.actors=[1, x]", "must be 'auto' or a list of two whole numbers, such as [1, 8], not 'x'"),
        ("ray.actors=[1", "ray.actors: a list begins with [ and must end with ]"),
        ("errors.retry=[mising]", "errors.retry: must be a list of kinds of error, not 'mising'"),
        ("output.uri=", "output.uri: must be text"),
        ("input.storage_options=a", "input.storage_options: must be a mapping"),
        ("input.storage_options={a: 1, a: 2}", "input.storage_options: a is given twice"),
        ("input.storage_options={a: 1", "input.storage_options: a list or mapping is not closed"),
    ],
)
def test_what_is_refused_on_the_command_line(tmp_path: Path, override: str, message: str) -> None:
    assert message in problem(tmp_path, "input: {uri: a}\n" + BASE, override)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("input: {uri: a}\ninput: {limit: 3}\n", "config.yaml: input is given twice, in lines 1 and 2"),
        ("input:\n  uri: a\n  limit: 3\n  uri: b\n", "config.yaml: input.uri is given twice, in lines 2 and 4"),
        ("input:\n  uri: {b}.wav\n", "config.yaml, line 2: "),
        ("input:\n  uri: [a].wav\n", "config.yaml, line 2: "),
        ("input:\n  uri: [a\n", "config.yaml, line 3: a list or mapping is not closed"),
        ("input:\n  uri: a: b\n", 'line 2: the indentation is wrong, or a value contains ": "'),
        ("input:\n  uri: 'a\n", "a quote is not closed"),
        ('input:\n  uri: "C:\\data"\n', "line 2: a quote is not closed, or a backslash in double quotes is no escape"),
        ("input:\n\turi: a\n", "line 2: a tab, where YAML takes only spaces"),
        ("input:\n  uri: !a\n", "line 2: a value begins with !"),
        ("input:\n  uri: a\n---\nb: 1\n", "line 3: a second document begins"),
        ("input:\n  uri: a\x01\n", "line 2: a control character"),
        ("input: [a]\n", "input: must be a section, with keys below it"),
        ("input: a\n", "input: must be a section, with keys below it"),
        ("input: {uri: {a: b}}\n", "input.uri: must be text or a list of names, not a mapping"),
        ("input: {uri: a, limit: 010}\n", "input.limit: must be a whole number above 0 or null, not '010'; write 10"),
        ("input: {uri: a, limit: 1:30}\n", "input.limit: must be a whole number"),
        ("input: {uri: a, limit: .inf}\n", "not '.inf'"),
        ("? [a]\n: b\n", "line 1: a key must be a name"),
        ("[" * 3000, "config.yaml"),
    ],
)
def test_what_is_refused_in_yaml(tmp_path: Path, text: str, message: str) -> None:
    assert message in problem(tmp_path, text + ("" if "---" in text or "[[" in text else BASE))


def test_the_home_folder(tmp_path: Path, home: str) -> None:
    text = "input: {uri: [~/a, b/~c], allowed_roots: [~/d]}\noutput: {uri: ~/out}\nmodel: {name: ~/m.nemo}\n"
    config = loaded(tmp_path, text, "export.uri=~/e", "evaluate.write=~/f", "benchmark.write=~")
    assert (config.input.uri, config.input.allowed_roots) == ([f"{home}/a", "b/~c"], [f"{home}/d"])
    assert (config.output.uri, config.model.name) == (f"{home}/out", f"{home}/m.nemo")
    assert (config.export.uri, config.evaluate.write) == (f"{home}/e", f"{home}/f")
    root = os.path.expanduser("~root")
    assert loaded(tmp_path, text, "input.uri=~root/a").input.uri == f"{root}/a"
    assert loaded(tmp_path, text, "input.uri=~nobody-here.wav").input.uri == "~nobody-here.wav"


def test_urls_that_are_secrets(tmp_path: Path) -> None:
    urls = [f"http://h/{name}.wav?X-Amz-Signature=secret&id=1" for name in "ab"]
    config = loaded(tmp_path, f"input: {{uri: ['{urls[0]}', '{urls[1]}', 'http://h/?id=2']}}\n" + BASE)
    options = config.input.options()
    assert [url in options["signatures"] for url in (*urls, "http://h/?id=2", urls[0] + "3")] == [
        True,
        True,
        False,
        False,
    ]
    assert "secret" not in repr(options)
    message = problem(tmp_path, f"input: {{uri: ['{urls[0]}', '{urls[0]}&X-Amz-Date=1']}}\n" + BASE)
    assert "input.uri: URLs of http://h/a.wav?id=1 differ only in their signatures" in message
    assert "secret" not in message
