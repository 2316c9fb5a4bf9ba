"""YAML as people write it: patterns need no quotes, keys are not given twice, and all messages are our own.

A value that begins with one of `*@%` and a backtick is not YAML; it is taken as the text that it plainly is. Values are
left as typed: the kind of the key tells what they are.
"""

from contextlib import suppress
from typing import Any

import yaml

from actors.foreign import plain_yaml
from actors.schema import UsageError
from jobs.cli.errors import ConfigError

_NOT_YAML = "*@%`"  # characters with which people's values begin, and no value in YAML
_MAX_QUOTED = 200  # values; each is found by parsing the text again
_QUOTES = "put the value in single quotes"

#: Sentences for what the parser says or was doing.
_SENTENCES = {
    "mapping values": f'the indentation is wrong, or a value contains ": "; in that case {_QUOTES}',
    "quoted scalar": "a quote is not closed, or a backslash in double quotes is no escape; use single quotes",
    "escape": "a backslash in double quotes is no escape; use single quotes",
    "flow": "a list or mapping is not closed by ] or }, or a value that begins with [ or { is not in single quotes",
    "single document": "a second document begins (---)",
    "block": f"the indentation is wrong, or a value has something YAML cannot have; in that case {_QUOTES}",
    "": f"this cannot be read; {_QUOTES}",
}


def compose(text: str, where: str, has_lines: bool = True) -> yaml.Node | None:
    """The nodes of a YAML text, None if it is empty; their scalars are as typed.

    Raises ConfigError with `where` and, of a text that has lines, the line, without the text, which may hold secrets.
    """
    for _ in range(_MAX_QUOTED):
        loader = _loader(text, where, has_lines)
        try:
            node: yaml.Node | None = loader.get_single_node()
            break
        except yaml.YAMLError as problem:
            quoted = _quoted(text, problem, loader.flow_level)
            if quoted is None:
                raise ConfigError(f"{_location(where, problem, has_lines)}: {_sentence(text, problem)}") from None
            text = quoted
        except RecursionError:
            raise ConfigError(f"{where}: it is nested too deep") from None
        finally:
            loader.dispose()
    else:
        raise ConfigError(f"{where}: more than {_MAX_QUOTED} values begin with one of {_NOT_YAML}; {_QUOTES}")
    try:
        with suppress(yaml.YAMLError):  # that parser refuses a few escapes more
            plain_yaml.check_size(text.encode("utf-8", "surrogatepass"))
    except UsageError as problem:
        raise ConfigError(f"{where}: {problem}") from None
    if node is not None:
        _check(node, where, has_lines)
    return node


def items(mapping: yaml.MappingNode) -> list[tuple[str, yaml.Node]]:
    """The keys and values of a mapping."""
    return [(str(key.value), value) for key, value in mapping.value]


def _loader(text: str, where: str, has_lines: bool) -> Any:
    try:
        return yaml.SafeLoader(text)
    except yaml.reader.ReaderError as problem:
        line = f", line {text.count(chr(10), 0, problem.position) + 1}" if has_lines else ""
        raise ConfigError(f"{where}{line}: a control character, which YAML cannot have") from None


def _check(node: yaml.Node, where: str, has_lines: bool, path: str = "") -> None:
    """Raises ConfigError if a key is given twice, or a value has a tag."""
    if node.tag.startswith("!"):
        line = f", line {node.start_mark.line + 1}" if has_lines else ""
        raise ConfigError(f"{where}{line}: a value begins with !, which is a tag in YAML; {_QUOTES}")
    if isinstance(node, yaml.SequenceNode):
        for each in node.value:
            _check(each, where, has_lines, path)
    if not isinstance(node, yaml.MappingNode):
        return
    lines = dict[str, int]()
    for key, value in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            raise ConfigError(f"{where}{f', line {line}' if has_lines else ''}: a key must be a name")
        name = f"{path}.{key.value}" if path else str(key.value)
        if name in lines:
            place = f", in lines {lines[name]} and {line}" if has_lines else ""
            raise ConfigError(f"{where}: {name} is given twice{place}; keep one of them")
        lines[name] = line
        _check(value, where, has_lines, name)


def _quoted(text: str, problem: yaml.YAMLError, flow_level: int) -> str | None:
    """The text with the value at which the parser failed in quotes; None if that is no such value."""
    if not isinstance(problem, yaml.MarkedYAMLError):
        return None
    mark = problem.context_mark if "alias" in (problem.context or "") else problem.problem_mark
    if mark is None or text[mark.index : mark.index + 1] not in set(_NOT_YAML):
        return None
    value = text[mark.index :].partition("\n")[0]
    for end in ",]}" if flow_level else (" #",):
        value = value.partition(end)[0]
    value = value.rstrip()
    quoted = value.replace("'", "''")
    return f"{text[: mark.index]}'{quoted}'{text[mark.index + len(value) :]}"


def _location(where: str, problem: yaml.YAMLError, has_lines: bool) -> str:
    mark = getattr(problem, "problem_mark", None)
    return f"{where}, line {mark.line + 1}" if mark and has_lines else where


def _sentence(text: str, problem: yaml.YAMLError) -> str:
    """What is wrong, and what to write instead."""
    mark, said = getattr(problem, "problem_mark", None), f"{getattr(problem, 'context', '')} {problem}"
    if mark and text[mark.index : mark.index + 1] == "\t":
        return "a tab, where YAML takes only spaces; indent by spaces, and put a value with a tab in quotes"
    return next(sentence for part, sentence in _SENTENCES.items() if part in said)
