"""Reads untrusted YAML as plain data: its expanded size and depth are checked before any object is built.

Aliases can expand a line to a thousand, and the parser recurses in C for nested values. So the file's events are
counted first, one by one, with every alias counted as what it refers to.
"""

from dataclasses import dataclass
from typing import Any

import yaml

from actors.schema import UsageError

MAX_NODES = 400_000  # with aliases expanded; a vocabulary of 5,000 characters, which NeMo's files have twice, is 10,000
MAX_DEPTH = 50  # of nested lists and mappings; NeMo's configurations have 6
MAX_DIGITS = 64  # characters of a value that is not text; the time to parse 1:59:59:59… grows with their square
MAX_KEY = 16  # characters of a key that is not text: numbers with colliding hashes, which slow a mapping, are longer

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass
class _Node:
    """A list or mapping: its number of nodes so far, with aliases expanded, and their depth."""

    anchor: str | None
    is_mapping: bool
    children: int = 0
    nodes: int = 1
    depth: int = 1


def load(content: bytes) -> object:
    """Parses YAML to Python's own types. Raises UsageError if it is not YAML, or exceeds the limits."""
    try:
        check_size(content)
        return yaml.load(content, _Loader)
    except (UsageError, MemoryError):
        raise
    except Exception as problem:  # noqa: BLE001 - invalid dates, numbers and tags raise a dozen kinds
        mark, message = getattr(problem, "problem_mark", None), getattr(problem, "problem", None)
        line = f" in line {mark.line + 1}" if mark else ""
        raise UsageError(f"it is not YAML{line}: {str(message or type(problem).__name__)[:80]}") from None


def check_size(content: bytes) -> None:
    """Raises UsageError if a YAML file exceeds the limits, and YAMLError if it is not YAML."""
    loader = _Loader(content)
    try:
        open_nodes, anchored = [_Node(None, False)], dict[str, _Node]()
        while loader.check_event():
            event = loader.get_event()
            if isinstance(event, yaml.CollectionStartEvent):
                open_nodes.append(_Node(event.anchor, isinstance(event, yaml.MappingStartEvent)))
                if len(open_nodes) > MAX_DEPTH:
                    raise UsageError(f"it is nested deeper than {MAX_DEPTH} levels")
            elif isinstance(event, yaml.CollectionEndEvent):
                _add(open_nodes, anchored, open_nodes.pop())
            elif isinstance(event, yaml.ScalarEvent):
                is_key = open_nodes[-1].is_mapping and open_nodes[-1].children % 2 == 0
                _check_scalar(loader, event, is_key)
                _add(open_nodes, anchored, _Node(event.anchor, False))
            elif isinstance(event, yaml.AliasEvent):
                if event.anchor not in anchored:
                    raise UsageError("it has an alias whose anchor does not exist, or that contains the alias itself")
                target = anchored[event.anchor]
                _add(open_nodes, anchored, _Node(None, False, 0, target.nodes, target.depth))
    finally:
        loader.dispose()


def _add(open_nodes: list[_Node], anchored: dict[str, _Node], node: _Node) -> None:
    """Adds a complete node to the innermost open one."""
    parent = open_nodes[-1]
    parent.children += 1
    parent.nodes += node.nodes
    parent.depth = max(parent.depth, node.depth + 1)
    if node.anchor is not None:
        anchored[node.anchor] = node
    if parent.nodes > MAX_NODES:
        raise UsageError(f"it has more than {MAX_NODES:,} values, with aliases expanded")
    if len(open_nodes) - 1 + node.depth > MAX_DEPTH:
        raise UsageError(f"it is nested deeper than {MAX_DEPTH} levels, with aliases expanded")


def _check_scalar(loader: Any, event: yaml.ScalarEvent, is_key: bool) -> None:
    length = len(event.value)
    if length <= MAX_KEY:
        return
    tag = event.tag or loader.resolve(yaml.ScalarNode, event.value, event.implicit)
    if tag not in ("!", "tag:yaml.org,2002:str") and (is_key or length > MAX_DIGITS):
        raise UsageError(f"it has a value of {length} characters that is not text")
