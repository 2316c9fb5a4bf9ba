"""Good recordings of every kind are the sound that they were made of, and damaged ones end as they should.

The short form of tests/campaigns/fuzz.py.
"""

from pathlib import Path

import fuzz
import numpy as np
import pytest
from audio_files import RATE, ogg_pages, speech, with_checksums
from audio_mutants import mutant
from audio_seeds import Seed, makers

from actors.audio.decode import decode

COUNT = 500


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("seeds")


@pytest.fixture(scope="module")
def seeds(folder: Path) -> list[Seed]:
    return fuzz.save_seeds(folder)


@pytest.fixture(scope="module")
def reports(seeds: list[Seed], folder: Path) -> list[fuzz.Report]:
    numbers = range(len(seeds), len(seeds) + COUNT)  # of damaged ones
    return list(fuzz.campaign(numbers, seeds, folder))


@pytest.mark.parametrize("name", list(makers()))
def test_a_good_recording_is_the_sound_that_it_was_made_of(name: str, seeds: list[Seed]) -> None:
    (seed,) = (each for each in seeds if each.name == name)
    assert seed.fault_of(decode(seed.content).pcm) is None


def test_no_mutant_ends_its_process_or_raises(reports: list[fuzz.Report]) -> None:
    wrong = [
        each for each in reports if each.fault and each.fault.startswith(("signal", "status", "more", "raises", "took"))
    ]
    assert [(each.number, each.seed, each.fault) for each in wrong] == []
    assert sum(each.end == "sound" for each in reports) > COUNT / 3


def test_mutants_are_the_same_sound_in_any_pieces(reports: list[fuzz.Report]) -> None:
    assert [(each.number, each.seed, each.fault) for each in reports if each.fault] == []


def test_a_mutant_is_known_by_its_number(seeds: list[Seed]) -> None:
    made = [mutant(number, seeds) for number in range(3 * len(seeds))]
    assert made == [mutant(number, seeds) for number in range(3 * len(seeds))]
    first, later = made[: len(seeds)], made[len(seeds) :]
    assert [each.content for each in first] == [each.content for each in seeds]
    assert sum(each.content == seeds[each.number % len(seeds)].content for each in later) < 10


def test_what_ends_a_child_is_named(seeds: list[Seed], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the next mutant is judged by another child."""
    monkeypatch.setattr(fuzz, "_Child", _Fragile)
    reports = list(fuzz.campaign(range(3), seeds, folder))
    assert [each.number for each in reports] == [0, 1, 2]
    assert reports[1].fault == "signal SIGKILL in "
    assert reports[0].fault is reports[2].fault is None


class _Fragile(fuzz._Child):  # noqa: SLF001
    def give(self, number: int) -> None:
        super().give(number)
        if number == 1:
            self.process.kill()


def test_what_a_seed_says_is_compared() -> None:
    said = speech(3.0)
    seed = Seed("s", b"", said)
    pcm = (said * 32_767).astype(np.int16)
    late = np.concatenate([np.zeros(2_000, np.int16), pcm])
    assert seed.fault_of(pcm) is seed.fault_of(late) is None
    assert "too short" in str(seed.fault_of(pcm[:-3_000]))
    assert "correlation" in str(seed.fault_of(np.concatenate([pcm[: 2 * RATE], pcm[:RATE]])))
    assert Seed("s", b"", None).fault_of(pcm) is None


def test_checksums_of_ogg(seeds: list[Seed]) -> None:
    (seed,) = (each for each in seeds if each.name == "ff-ogg-libopus-16000-1")
    assert ogg_pages(seed.content)[-1][1] == len(seed.content)
    assert with_checksums(seed.content) == seed.content
    damaged = bytearray(seed.content)
    damaged[-1] ^= 1
    assert with_checksums(bytes(damaged))[:-1] != seed.content[:-1]
