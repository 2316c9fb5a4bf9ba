"""The beam search against those of flashlight-text and of NeMo, which read every class of every frame."""

import random
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
import torch
from fusions import Text, Weighted, arpa_of, heard_of, random_grammar, random_log_probs, wanted

from actors.engine.interface import THRESHOLD
from actors.text.alignment import align_tokens
from actors.text.beam import search
from actors.text.frames import Frames, frames_of

TOKENS = 5
BLANK = TOKENS
SCALE = 1_000


def case(seed: int, has_phrases: bool, spread: float) -> tuple[Weighted, Frames, np.ndarray]:
    """A fusion, frames of which every class is a candidate, and their log-probabilities as they are there."""
    draw = random.Random(seed)
    some = {tuple(draw.choices(range(TOKENS), k=draw.randint(1, 4))): draw.randint(1, 40) / 16 for _ in range(4)}
    weighted = Weighted(random_grammar(TOKENS, draw), 0.5, 0.75, wanted(some if has_phrases else {}, draw))
    log_probs = random_log_probs(12, TOKENS + 1, np.random.default_rng(seed), spread)
    frames = frames_of(heard_of(np.maximum(log_probs, THRESHOLD + 0.01)), TOKENS)
    dense = np.empty((12, TOKENS + 1), np.float32)
    dense[:, BLANK] = frames.blank
    dense[np.repeat(np.arange(12), np.diff(frames.begins)), frames.ids] = frames.log_probs
    return weighted, frames, dense


def assert_no_worse(weighted: Weighted, frames: Frames, text: list[int], score: float, tolerance: float) -> None:
    """The text found has the score that the definition gives it, and is another's, or better than that."""
    (found,) = search(frames, 2_000, weighted.fusion(TOKENS))
    aligned = align_tokens(found.ids, frames)
    assert aligned is not None
    assert found.score == pytest.approx(aligned.log_prob + weighted.score(tuple(found.ids.tolist()), False), abs=1e-9)
    assert found.score >= score - tolerance
    if found.score <= score + tolerance:
        assert found.ids.tolist() == text


@pytest.mark.parametrize("seed", range(20))
def test_flashlight(seed: int) -> None:
    """At a wide beam, by max, with a language model and phrases."""
    flashlight = pytest.importorskip("flashlight.lib.text.decoder", reason="needs the extra `bench`")
    weighted, frames, dense = case(seed, True, 0.6)

    class Model(flashlight.LM):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.texts = dict[object, Text]()

        def start(self, _: bool) -> object:
            state = flashlight.LMState()
            self.texts[state] = ()
            return state

        def score(self, state: object, token: int) -> tuple[object, float]:
            text = (*self.texts[state], token)
            child = state.child(token)  # type: ignore[attr-defined]
            self.texts[child] = text
            return child, weighted.score(text, True) - weighted.score(text[:-1], True)

        def finish(self, state: object) -> tuple[object, float]:
            return state, weighted.score(self.texts[state], False) - weighted.score(self.texts[state], True)

    options = flashlight.LexiconFreeDecoderOptions(
        beam_size=300,
        beam_size_token=TOKENS + 1,
        beam_threshold=1e4,
        lm_weight=1.0,
        sil_score=0.0,
        log_add=False,
        criterion_type=flashlight.CriterionType.CTC,
    )
    model = Model()  # the decoder does not keep it
    decoder = flashlight.LexiconFreeDecoder(options, model, TOKENS + 1, BLANK, [])
    best = decoder.decode(dense.ctypes.data, *dense.shape)[0]
    text = [token for token, _ in groupby(best.tokens[1:-1]) if token != BLANK]
    assert_no_worse(weighted, frames, text, best.score, 1e-3)


def test_nemo(tmp_path: Path) -> None:
    """At a wide beam, with a language model. It sums over paths: of weights that are all a thousandfold, a sum is that
    many times the maximum, within a thousandth."""
    ngrams = pytest.importorskip("nemo.collections.asr.parts.submodules.ngram_lm")
    batched = pytest.importorskip("nemo.collections.asr.parts.submodules.ctc_batched_beam_decoding")
    for seed in range(10):
        weighted, frames, dense = case(seed, False, 0.6)
        arpa = tmp_path / f"{seed}.arpa"
        arpa.write_text(arpa_of(weighted.grammar, {token: chr(100 + token) for token in range(TOKENS)}))
        computer = batched.BatchedBeamCTCComputer(
            BLANK,
            64,
            fusion_models=[ngrams.NGramGPULanguageModel.from_arpa(arpa, vocab_size=TOKENS, use_triton=False)],
            fusion_models_alpha=[weighted.lm_weight * SCALE],
            beam_beta=weighted.token_bonus * SCALE,
            beam_threshold=1e9,
            allow_cuda_graphs=False,
        )
        with torch.no_grad():
            beams = computer(torch.from_numpy(dense.astype(np.float64) * SCALE)[None], torch.tensor([len(dense)]))
        (best,) = beams.to_hyps_list(score_norm=False)
        assert_no_worse(weighted, frames, best.y_sequence.tolist(), best.score / SCALE, 0.01)
