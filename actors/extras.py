"""How the optional packages of an installation are named in messages: by path, for the project is on no index."""

from pathlib import Path

from actors import VERSION

ROOT = Path(__file__).parent.parent


def how_to_install(extra: str, root: Path = ROOT) -> str:
    """The command that installs an extra of pyproject.toml: from the clone that this code lies in, or else from the
    wheel that it was installed from.

    >>> how_to_install("vad", Path("/nowhere")).replace(VERSION, "0.1")
    "pip install './citrascribe-0.1-py3-none-any.whl[vad]', from where the wheel is"
    """
    if (root / "pyproject.toml").is_file():
        return f"pip install -c constraints.txt '.[{extra}]'"
    return f"pip install './citrascribe-{VERSION}-py3-none-any.whl[{extra}]', from where the wheel is"
