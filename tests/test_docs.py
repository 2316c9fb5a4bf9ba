"""What the pages name is there: links, paths, functions, make targets, modules and keys of the configuration."""

import ast
import re
from pathlib import Path

import pytest
from conftest import ROOT

from jobs.__main__ import JOBS
from jobs.cli.config import Config

PAGES = ["README.md", "SECURITY.md", "CONTRIBUTING.md", "demo/README.md"]
PAGES += sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("docs/*.md"))
PLACEHOLDERS = {"configs/archive.yaml", "docs/benchmarks/NAME.json"}  # of the reader's own


def names_in(path: Path) -> set[str]:
    """All functions, classes, methods and constants of a file."""
    names = set[str]()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names


def anchors_of(path: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for link in re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", (ROOT / page).read_text()):
        file, _, anchor = link.partition("#")
        target = (ROOT / page).parent / file if file else ROOT / page
        assert target.exists(), link
        assert not anchor or anchor in anchors_of(target), link


@pytest.mark.parametrize("page", PAGES)
def test_what_is_named_is_there(page: str) -> None:
    text = (ROOT / page).read_text()
    for path in re.findall(r"(?<![\w/.<>…-])((?:jobs|actors|tests|configs|demo|docs)/[\w./-]*[\w/])", text):
        assert path in PLACEHOLDERS or (ROOT / path).exists(), path
    for path, named in re.findall(r"`((?:jobs|actors)/[\w/]+\.py)` \(([^)]*)\)", text):
        missing = set(re.findall(r"`(\w+)`", named)) - names_in(ROOT / path)
        assert not missing, f"{path} has no {missing}"
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make (\w+)", text)) <= targets
    for module in re.findall(r"-m ((?:jobs|demo)\.[a-z_]+)", text):
        assert (ROOT / module.replace(".", "/")).with_suffix(".py").exists(), module


@pytest.mark.parametrize("page", PAGES)
def test_commands_are_commands(page: str) -> None:
    text = (ROOT / page).read_text()
    named = re.findall(r"^(?:    |`)(?:\.venv/bin/)?citrascribe ([a-z][a-z_-]*)", text, re.MULTILINE)
    assert {name.replace("-", "_") for name in named} <= set(JOBS)


@pytest.mark.parametrize("page", PAGES)
def test_keys_are_keys(page: str) -> None:
    keys = {f"{name}.{key}" for name, section in Config.model_fields.items() for key in section.annotation.model_fields}
    named = re.findall(
        rf"(?<![\w./-])((?:{'|'.join(Config.model_fields)})\.[a-z_]+)\b(?!\()", (ROOT / page).read_text()
    )
    files = {name for name in named if name.endswith((".py", ".md", ".wav", ".txt", ".json", ".parquet", ".yaml"))}
    assert set(named) - files <= keys


def test_the_first_page_is_one_page() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 130
