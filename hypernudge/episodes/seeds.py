"""Seeds derived from addresses, so that no two random streams are shifted copies of each other."""

import hashlib


def derive_seed(seed: int, *address: str | int) -> int:
    """Hash a seed and an address into an independent 63-bit seed.

    Neighbouring seeds or addresses give unrelated streams (arithmetic such as ``seed + index`` does
    not: stream ``index + 1`` of seed ``s`` would be stream ``index`` of seed ``s + 1``).

    Args:
        seed: The user's seed.
        address: What the stream is for, for example ``("noise", "cuda:0")``.

    Returns:
        An integer in ``[0, 2**63)``, equal on every platform.
    """
    text = "\x1f".join([repr(int(seed)), *(f"{type(part).__name__}:{part}" for part in address)])
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
