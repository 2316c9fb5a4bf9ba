"""The time that actors had, and how much of it they were busy."""

from dataclasses import dataclass, field

from actors.outcomes import Work


@dataclass
class ActorTime:
    """Sums over the work of all actors, which come and go: an actor's time is that from its first piece's arrival to
    its last one's end."""

    busy_seconds: float = 0.0
    _spans: dict[str, tuple[float, float]] = field(default_factory=dict)  # by actor, in seconds since 1970

    def add(self, work: Work) -> None:
        began, ended = self._spans.get(work.actor, (work.began, work.ended))
        self._spans[work.actor] = min(began, work.began), max(ended, work.ended)
        self.busy_seconds += work.busy_seconds

    @property
    def began(self) -> float:
        """When an actor first had work, in seconds since 1970; 0 if none had."""
        return min((began for began, _ in self._spans.values()), default=0.0)

    @property
    def busy_share(self) -> float | None:
        """The share of their time in which the actors were busy: on GPUs, the GPU's own time, as measured there. None
        if nothing was transcribed."""
        total = sum(ended - began for began, ended in self._spans.values())
        return min(self.busy_seconds / total, 1.0) if total else None
