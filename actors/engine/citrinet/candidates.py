"""Candidates of output frames (`interface.Candidates`): listed from logits in plain torch, the twin of the kernel on
GPUs, and packed from the table that the kernel fills."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch

from actors.engine.interface import THRESHOLD, Candidates, log_prob_codes


def list_candidates(scores: torch.Tensor, log_sums: torch.Tensor, best: torch.Tensor, most: int) -> Candidates:
    """The candidates of rows of scores (rows, classes), which less `log_sums` (rows,) are log-probabilities, and whose
    best class is `best`. No row's depend on other rows.

    The best class is listed even where it is less likely than the threshold, which takes 10,000 classes.
    """
    tokens, blank = scores[:, :-1], scores.shape[1] - 1
    kept = tokens > (log_sums + THRESHOLD)[:, None]
    spoken = best < blank
    kept[spoken, best[spoken]] = True
    crowded = torch.nonzero(kept.sum(dim=1) > most).squeeze(1)
    if len(crowded):  # of those that are level with the last, the lowest ids are taken below
        many = tokens[crowded]
        kept[crowded] &= many >= many.topk(most).values[:, -1:]
    rows, ids = np.divmod(np.flatnonzero(kept.cpu().numpy()), blank)
    listed = tokens[kept]
    order = np.lexsort((ids, -listed.cpu().numpy(), rows))
    counts = np.bincount(rows, minlength=len(scores))
    ranks = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    order = order[ranks < most]
    log_probs = (listed - log_sums[torch.from_numpy(rows).to(scores.device)]).cpu().numpy()
    return Candidates(
        np.minimum(counts, most).astype(np.uint8),
        ids[order].astype(np.uint16),
        log_prob_codes(log_probs[order]),
        log_prob_codes((scores[:, blank] - log_sums).cpu().numpy()),
    )


class CandidateTable(NamedTuple):
    """Candidates of rows as a GPU lists them: of row r, the first counts[r] of ids[r] and codes[r], both (rows, most).
    `counts` (rows,) is int32, and the others, `blank` (rows,) too, are int16 with the bits of uint16."""

    counts: torch.Tensor
    ids: torch.Tensor
    codes: torch.Tensor
    blank: torch.Tensor

    @classmethod
    def of_size(cls, rows: int, most: int, device: torch.device) -> CandidateTable:
        """A table to be filled."""
        counts = torch.empty(rows, dtype=torch.int32, device=device)
        shapes = (rows, most), (rows, most), (rows,)
        return cls(counts, *(torch.empty(shape, dtype=torch.int16, device=device) for shape in shapes))

    def split(self, slices: Sequence[slice]) -> Iterator[Candidates]:
        """The candidates of each slice of rows; the table is on the host, and may be filled again."""
        counts, most = self.counts[: slices[-1].stop].numpy().astype(np.uint8), self.ids.shape[1]
        listed = np.flatnonzero(np.arange(most, dtype=np.uint8) < counts[:, None])  # twice as fast as by the mask
        ids, codes = (each.view(-1).numpy().view(np.uint16)[listed] for each in (self.ids, self.codes))
        ends, blank = np.append(0, np.cumsum(counts, dtype=np.int64)), self.blank.numpy().view(np.uint16)
        for rows in slices:
            own = slice(ends[rows.start], ends[rows.stop])
            yield Candidates(counts[rows], ids[own], codes[own], blank[rows].copy())
