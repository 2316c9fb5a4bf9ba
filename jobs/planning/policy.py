"""What a plan is told besides the listing and the state: the configuration's choices about units that exist."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from actors.parts.made import Made
from actors.units import SourceObject, nominal_seconds
from jobs.planning.corrections import Errors
from jobs.planning.sizing import Estimate


@dataclass(frozen=True, kw_only=True)
class Policy:
    """Settings of a plan: the audio in a unit, and how to treat existing units (output.on_*, errors.retry, input.redo).

    `calibrate` makes the estimate of an object's seconds from the objects that are to be transcribed; `made` tells what
    the part of a unit was made with, None if it cannot be known, and `errors` the errors of its objects. The latter two
    are called from several threads.
    """

    target_seconds: float = 1_800.0
    on_mismatch: str = "fail"
    on_deleted: str = "keep"
    on_excluded: str = "keep"
    max_removed_fraction: float = 0.1
    asked: frozenset[str] = frozenset()  # kinds of errors to try again
    retry: Mapping[str, frozenset[str]] = field(default_factory=dict)  # unit -> those of its errors to try again
    redo: frozenset[str] = frozenset()  # keys of listed objects to do again
    calibrate: Callable[[Sequence[SourceObject]], Estimate] = lambda objects: nominal_seconds
    made: Callable[[str], Made | None] = lambda unit: None
    errors: Callable[[str], Errors] = lambda unit: {}
