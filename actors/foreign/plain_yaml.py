"""YAML of others as plain data: what a small file may grow to, and how deep, is known before anything is built of it.

Aliases let a line stand for a thousand others, and the parser builds what is nested by calling itself, in C. So the
events of the file are counted first, one after the other, with every alias as what it stands for.
"""

from dataclasses import dataclass
from typing import Any

import yaml

from actors.schema import UsageError

MAX_NODES = 400_000  # with aliases written out; 5,000 characters of a vocabulary, which stands there twice, are 10,000
MAX_DEPTH = 50  # of lists and mappings in each other; NeMo's configurations have 6
MAX_DIGITS = 64  # of what is not text; the time that 1:59:59:59… takes grows with its square
MAX_KEY = 16  # of a key that is no text: numbers that share a hash are longer, and would make a mapping slow

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass
class _Node:
    """A list or mapping that has begun: how many nodes it has so far, written out, and how deep they go."""

    anchor: str | None
    is_mapping: bool
    children: int = 0
    nodes: int = 1
    depth: int = 1


def load(content: bytes) -> Any:
    """What a YAML file says, in Python's own types. Raises UsageError where it is not YAML, or grows beyond belief."""
    try:
        measure(content)
        return yaml.load(content, _Loader)
    except (UsageError, MemoryError):
        raise
    except Exception as problem:  # noqa: BLE001 - senseless dates, numbers and tags raise a dozen kinds
        mark, said = getattr(problem, "problem_mark", None), getattr(problem, "problem", None)
        line = f" in line {mark.line + 1}" if mark else ""
        raise UsageError(f"it is not YAML{line}: {str(said or type(problem).__name__)[:80]}") from None


def measure(content: bytes) -> None:
    """Raises UsageError where a YAML file grows beyond belief, and YAMLError where it is none."""
    loader = _Loader(content)
    try:
        begun, anchored = [_Node(None, False)], dict[str, _Node]()
        while loader.check_event():
            event = loader.get_event()
            if isinstance(event, yaml.CollectionStartEvent):
                begun.append(_Node(event.anchor, isinstance(event, yaml.MappingStartEvent)))
                if len(begun) > MAX_DEPTH:
                    raise UsageError(f"it is nested deeper than {MAX_DEPTH} levels")
            elif isinstance(event, yaml.CollectionEndEvent):
                _add(begun, anchored, begun.pop())
            elif isinstance(event, yaml.ScalarEvent):
                is_key = begun[-1].is_mapping and begun[-1].children % 2 == 0
                _check_scalar(loader, event, is_key)
                _add(begun, anchored, _Node(event.anchor, False))
            elif isinstance(event, yaml.AliasEvent):
                if event.anchor not in anchored:
                    raise UsageError("it has an alias of something that is not there, or that holds the alias")
                stood_for = anchored[event.anchor]
                _add(begun, anchored, _Node(None, False, 0, stood_for.nodes, stood_for.depth))
    finally:
        loader.dispose()


def _add(begun: list[_Node], anchored: dict[str, _Node], node: _Node) -> None:
    """Counts a node that is complete as one of those that hold it."""
    around = begun[-1]
    around.children += 1
    around.nodes += node.nodes
    around.depth = max(around.depth, node.depth + 1)
    if node.anchor is not None:
        anchored[node.anchor] = node
    if around.nodes > MAX_NODES:
        raise UsageError(f"it has more than {MAX_NODES:,} values, with aliases written out")
    if len(begun) - 1 + node.depth > MAX_DEPTH:
        raise UsageError(f"it is nested deeper than {MAX_DEPTH} levels, with aliases written out")


def _check_scalar(loader: Any, event: Any, is_key: bool) -> None:
    length = len(event.value)
    if length <= MAX_KEY:
        return
    tag = event.tag or loader.resolve(yaml.ScalarNode, event.value, event.implicit)
    if tag not in ("!", "tag:yaml.org,2002:str") and (is_key or length > MAX_DIGITS):
        raise UsageError(f"it has a value of {length} characters that is no text")
