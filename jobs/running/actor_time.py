"""The time that actors had, and how much of it they were busy; and what reading took before that."""

from dataclasses import asdict, dataclass, field

from actors.outcomes import Read, Work


@dataclass(frozen=True)
class _Heard:
    """Seconds of audio, and those in which it kept actors busy."""

    audio_seconds: float = 0.0
    busy_seconds: float = 0.0

    def __add__(self, other: "_Heard") -> "_Heard":
        return _Heard(self.audio_seconds + other.audio_seconds, self.busy_seconds + other.busy_seconds)


_NOTHING = _Heard()


@dataclass
class ActorTime:
    """Sums over the work of all actors, which come and go: an actor's time is that from its first piece's arrival to
    its last one's end. An actor computes with so many `threads`, on a cluster with so many `cpus`."""

    busy_seconds: float = 0.0
    pieces: int = 0
    threads: int = 1
    cpus: float = 1.0
    reads: dict[str, Read] = field(default_factory=dict)  # by kind of file
    _first: _Heard = _NOTHING  # the first pieces of all actors, and all others
    _later: _Heard = _NOTHING
    _spans: dict[str, tuple[float, float]] = field(default_factory=dict)  # by actor, in seconds since 1970

    def add(self, work: Work) -> None:
        heard = _Heard(sum(each.audio_seconds for each in work.reads.values()), work.busy_seconds)
        if heard.audio_seconds and work.actor in self._spans:
            self._later += heard
        elif heard.audio_seconds:
            self._first += heard
        began, ended = self._spans.get(work.actor, (work.began, work.ended))
        self._spans[work.actor] = min(began, work.began), max(ended, work.ended)
        self.busy_seconds += work.busy_seconds
        self.pieces += 1
        for kind, read in work.reads.items():
            before = self.reads.get(kind, Read(0.0, 0.0, 0.0))
            self.reads = self.reads | {kind: before + read}  # a new one: the heartbeat's thread reads it

    @property
    def began(self) -> float:
        """When an actor first had work, in seconds since 1970; 0 if none had."""
        return min((began for began, _ in list(self._spans.values())), default=0.0)

    @property
    def busy_share(self) -> float | None:
        """The share of their time in which the actors were busy: on GPUs, the GPU's own time, as measured there. None
        if nothing was transcribed."""
        total = sum(ended - began for began, ended in self._spans.values())
        return min(self.busy_seconds / total, 1.0) if total else None

    def rates(self, run_began: float) -> dict[str, object] | None:
        """What a forecast of later runs needs, as `jobs.planning.rates` reads it; `run_began` is in seconds since 1970.
        None if nothing was heard that was measured when it was read.

        Actors warm up with their first pieces, so the speed is that of all others, where there are any.
        """
        spans, reads, first, later = list(self._spans.values()), self.reads, self._first, self._later
        whole = first + later  # this may be the heartbeat's thread
        if not spans or not whole.audio_seconds or not whole.busy_seconds:
            return None
        began, ended = min(began for began, _ in spans), max(ended for _, ended in spans)
        warm = later if later.busy_seconds else whole
        usual = whole.audio_seconds * warm.busy_seconds / warm.audio_seconds
        return {
            "audio_seconds": round(whole.audio_seconds, 2),
            "busy_seconds": round(usual, 3),
            "warming_seconds": round(max(whole.busy_seconds - usual, 0.0) / len(spans), 3),
            "pieces": self.pieces,
            "actors": len(spans),
            "threads": self.threads,
            "cpus": self.cpus,
            "start_seconds": round(max(began - run_began, 0.0), 2),
            "work_seconds": round(ended - began, 3),
            "reading": {
                kind: {name: round(value, 3) for name, value in asdict(read).items()} for kind, read in reads.items()
            },
        }
