"""Two halves of recordings with references: one to search weights on, one held back to say what they bring."""

import hashlib

from actors.text.normalise import normalise


def is_held_back(reference: str) -> bool:
    """Whether recordings with a reference belong to the half that is held back.

    The text alone tells it: the same sentence, spoken twice or trained on, is never in both halves. Other splits by a
    hash of the text, such as that by which the demo's sentences were chosen, are independent of it.
    """
    text = normalise(reference).encode(errors="surrogatepass")
    return hashlib.blake2b(text, digest_size=1, person=b"halves").digest()[0] % 2 == 0
