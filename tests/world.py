"""An archive and an output, whose undisturbed runs are checked: what they hear, and the rows that they leave."""

import itertools
from dataclasses import replace
from typing import Any

from histories import Archive, Bucket, Done, Job, Sound, file_of, work
from seen import Row, Seen, precision_of

from actors.parts.emissions import EMISSIONS
from actors.schema import PASSING, ErrorKind
from actors.storage.place import Place


class World:
    """An archive, and the output of its runs. If it `opens_nothing`, what is done is known by its name."""

    def __init__(self, opens_nothing: bool = False) -> None:
        self.opens_nothing = opens_nothing
        self.archive = Archive(Bucket())
        self.output, self.seen = Place(self.archive.bucket, "/out"), Seen(self.archive)
        self._from_empty = dict[tuple[object, ...], dict[str, list[Row]]]()

    def run(self, job: Job, is_damaged: bool = False) -> Done:
        """An undisturbed run hears what is to be heard, and nothing else, and leaves the right rows.

        What others damaged may only be found when it is to be carried over; then it takes several runs.
        """
        before, (must, may), kept = self.seen.rows(), self.seen.to_hear(job), self.seen.kept()
        is_mixed, done = self.seen.is_mixed(job), Done()
        for _ in range(4 if is_damaged else 1):
            done.failures.clear()
            work(job, self.archive, self.output, done=done)
            job = job if done.failures else replace(job, redo=frozenset())
            if not done.failures:
                break
        assert not done.failures
        self.seen.check()
        if done.was_refused:
            assert is_mixed
            return done
        assert must - kept.keys() <= done.heard <= must | may
        assert not [each for each in done.pieces if file_of(each) in itertools.chain(*kept.values())]
        after = self.seen.rows()
        self.check_unlisted(before, after, job, is_damaged)
        listed = {f"bucket://archive/{name}": sound for name, sound in self.archive.sounds.items()}
        fresh = replace(job, on_mismatch="replace", redo=frozenset())
        if job.on_mismatch == "keep":
            self.check_kept(listed, after, fresh)
            return done
        rows, expected = {uri: rows for uri, rows in after.items() if uri in listed}, self.from_empty(fresh)
        assert rows == expected, (rows, expected)
        self.nothing_is_left_to_do(fresh)
        return done

    def from_empty(self, job: Job) -> dict[str, list[dict[str, Any]]]:
        listed = self.archive.listing().objects
        key = (job.precision, job.tokens, job.itn, *listed, *(self.archive.sounds[each.name] for each in listed))
        if key not in self._from_empty:
            bucket = Bucket()
            bucket.store = {path: file for path, file in self.archive.bucket.store.items() if "/archive/" in path}
            archive = Archive(bucket, self.archive.sounds)
            work(job, archive, Place(bucket, "/out"))
            self._from_empty[key] = Seen(archive).rows()
        return self._from_empty[key]

    def check_unlisted(self, before: dict[str, Any], after: dict[str, Any], job: Job, is_damaged: bool) -> None:
        """Rows of what is not listed stay, unless they are to be removed."""
        names = self.archive.sounds
        unlisted = {uri for uri in before.keys() | after.keys() if uri.rpartition("/")[2] not in names}
        removed = self.seen.removed()
        assert after.keys().isdisjoint(removed)
        if job.on_deleted == "remove":
            assert not unlisted & after.keys()
        elif not is_damaged:
            for uri in unlisted - removed:
                same = ("text", "written", "etag", "reference")
                texts = [[[row[name] for name in same] for row in rows[uri]] for rows in (before, after)]
                assert texts[0] == texts[1]

    def check_kept(self, listed: dict[str, Sound], after: dict[str, Any], job: Job) -> None:
        """With output.on_mismatch=keep, all is as it is listed, but perhaps heard with other settings."""
        expected = dict[str, Any]()
        for precision in ("float32", "bfloat16"):
            for tokens in (False, True):
                made = self.from_empty(replace(job, precision=precision, tokens=tokens))
                expected |= {(uri, precision, tokens): rows for uri, rows in made.items()}
        for uri in listed:
            rows, kept = after[uri], self.seen.objects()[uri][0].candidates
            if kept is not None and precision_of(rows[0]) == job.precision:
                assert (rows[0]["tokens"] is not None) == job.tokens
            wanted = expected[uri, precision_of(rows[0]), rows[0]["tokens"] is not None]
            if rows[0]["error_kind"] == ErrorKind.UNREACHABLE:  # perhaps not tried again
                continue
            assert rows == wanted

    def nothing_is_left_to_do(self, job: Job) -> None:
        """Another run does nothing, unless something is to be tried again."""
        bucket = self.archive.bucket
        faults = {name for name, each in self.archive.sounds.items() if each.error in PASSING}
        stored = {path: file.etag for path, file in bucket.store.items() if path.startswith("/out/part-")}
        bucket.opened.clear()
        done = work(job, self.archive, self.output)
        assert not done.failures
        assert done.heard <= faults
        if not faults:
            assert stored == {p: file.etag for p, file in bucket.store.items() if p.startswith("/out/part-")}
            if self.opens_nothing:
                assert not [path for path in bucket.opened if "/part-" in path or EMISSIONS in path]
