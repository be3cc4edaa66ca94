"""Whole numbers beyond 64 bits, many at once: limbs of 30 bits in int64.

A *wide* is an int64 array of shape (L, n): column c stands for Σ_j x[j, c]·2^(30·j).  It is
*canonical* where every limb but the last lies in [0, 2^30) and the last, which carries the sign, in
[−2^30, 2^30).  All functions take canonical wides and return them; L follows the data.

Nothing overflows: a product of two limbs is at most 2^60 in size, so a column of at most seven of
them stays below 2^63; a division step holds r·2^30 + limb < 2^62 as r < d < 2^32.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

BITS: Final = 30
BASE: Final = 1 << BITS
MASK: Final = BASE - 1
_ROWS: Final = 7  # products that one column can hold
_E9: Final = 10**9
_ROUNDS: Final = 9


def from_ints(values: Sequence[int], words: int = 4) -> Ints:
    """The wide of Python integers that fit ``words`` 64-bit words with sign."""
    return from_words(to_word_array(values, words))


def to_word_array(values: Sequence[int], words: int) -> Ints:
    """Two's complement, little end first, shape (n, words); ``OverflowError`` beyond."""
    data = b"".join(int(v).to_bytes(8 * words, "little", signed=True) for v in values)
    return np.frombuffer(data, dtype="<i8").reshape(len(values), words).astype(np.int64)


def from_words(words: Ints) -> Ints:
    """The wide of two's complement words, shape (n, W)."""
    count = words.shape[1]
    unsigned = words.view(np.uint64)
    limbs = -(-64 * count // BITS)
    out = np.empty((limbs, len(words)), dtype=np.int64)
    for j in range(limbs):
        at, shift = divmod(BITS * j, 64)
        if at == count - 1:
            part = words[:, at] >> shift
        else:
            part = (unsigned[:, at] >> np.uint64(shift)).view(np.int64)
            if shift > 64 - BITS:
                part = part | (words[:, at + 1] << (64 - shift))
        out[j] = part if j == limbs - 1 else part & MASK
    return trim(out)


def to_words(x: Ints, words: int) -> Ints:
    """Two's complement words, shape (n, words); the numbers fit."""
    limbs = pad(x, -(-64 * words // BITS))
    out = np.zeros((x.shape[1], words), dtype=np.int64)
    for j in range(len(limbs)):
        at, shift = divmod(BITS * j, 64)
        if at < words:
            out[:, at] |= limbs[j] << shift
        if shift > 64 - BITS and at + 1 < words:
            out[:, at + 1] |= limbs[j] >> (64 - shift)
    return out


def to_ints(x: Ints) -> list[int]:
    """Python integers."""
    return words_to_ints(to_words(x, -(-(BITS * len(x) + 1) // 64)))


def words_to_ints(words: Ints) -> list[int]:
    """Python integers of two's complement words, shape (n, W)."""
    data, size = np.ascontiguousarray(words).astype("<i8").tobytes(), 8 * words.shape[1]
    return [
        int.from_bytes(data[i : i + size], "little", signed=True) for i in range(0, len(data), size)
    ]


def zeros(count: int) -> Ints:
    """n zeros."""
    return np.zeros((1, count), dtype=np.int64)


def canonical(x: Ints) -> Ints:
    """Carries limbs of any size up to 7·2^60; a fresh array."""
    out = x.copy()
    for j in range(len(out) - 1):
        out[j + 1] += out[j] >> BITS
        out[j] &= MASK
    while not _within(out[-1], -BASE, MASK):
        carry = out[-1] >> BITS
        out[-1] &= MASK
        out = np.concatenate([out, carry[None]])
    return out


def _within(x: Ints, low: int, high: int) -> bool:
    return not x.size or (int(x.min()) >= low and int(x.max()) <= high)


def trim(x: Ints) -> Ints:
    """Drops limbs that nobody needs; the last limb may start outside its range."""
    while len(x) > 1 and _within(x[-1], -1, 0):
        if x[-1].any():
            top = x[-2] + (x[-1] << BITS)
            x = np.concatenate([x[:-2], top[None]])
        else:
            x = x[:-1]
    return x if _within(x[-1], -BASE, MASK) else canonical(x)


def pad(x: Ints, limbs: int) -> Ints:
    """As many limbs as asked for, or more where the numbers need them; sign in the last."""
    while len(x) < limbs:
        x = np.concatenate([x[:-1], (x[-1] & MASK)[None], (x[-1] >> BITS)[None]])
    return x


def add(a: Ints, b: Ints) -> Ints:
    """a + b; either may be one column that stands for all."""
    if len(a) < len(b):
        a, b = b, a
    out = np.broadcast_to(a, (len(a), _columns(a, b))).copy()
    out[: len(b)] += b
    return canonical(out)


def _columns(a: Ints, b: Ints) -> int:
    return a.shape[1] if b.shape[1] == 1 else b.shape[1]


def sub(a: Ints, b: Ints) -> Ints:
    """a − b."""
    return add(a, -b)


def neg(x: Ints) -> Ints:
    """−x."""
    return canonical(-x)


def is_negative(x: Ints) -> Bools:
    """x < 0."""
    return np.asarray(x[-1] < 0)


def sign(x: Ints) -> NDArray[np.int8]:
    """−1, 0 or 1."""
    return np.where(x[-1] < 0, -1, x.any(axis=0)).astype(np.int8)


def absolute(x: Ints) -> Ints:
    """|x|"""
    return trim(canonical(np.where(is_negative(x), -x, x)))


def negate_where(x: Ints, where: Bools) -> Ints:
    """−x where told, else x."""
    return canonical(np.where(where, -x, x))


def select(where: Bools, a: Ints, b: Ints) -> Ints:
    """a where told, else b."""
    limbs = max(len(a), len(b))
    return trim(np.where(where, pad(a, limbs), pad(b, limbs)))


def maximum(a: Ints, b: Ints) -> Ints:
    """The larger one."""
    return select(is_negative(sub(a, b)), b, a)


def mul(a: Ints, b: Ints) -> Ints:
    """a·b; either may be one column that stands for all."""
    if len(a) > len(b):
        a, b = b, a
    total: Ints | None = None
    for first in range(0, len(a), _ROWS):
        part = a[first : first + _ROWS]
        out: Ints = np.zeros((first + len(part) + len(b), _columns(a, b)), dtype=np.int64)
        for i in range(len(part)):
            out[first + i : first + i + len(b)] += part[i] * b
        out = canonical(out)
        total = out if total is None else add(total, out)
    assert total is not None
    return trim(total)


def mul_small(x: Ints, factor: Ints | int) -> Ints:
    """x·factor, |factor| < 2^31."""
    return canonical(x * factor)


def floor_div_small(x: Ints, d: int) -> Ints:
    """⌊x/d⌋ towards −∞, 0 < d < 2^32."""
    return trim(_divide(x, d, 0))


def ceil_div_small(x: Ints, d: int) -> Ints:
    """⌈x/d⌉ = ⌊(x + d − 1)/d⌋ towards +∞, 0 < d < 2^32."""
    return trim(canonical(_divide(x, d, d - 1)))


def floor_wad(x: Ints) -> Ints:
    """⌊x/10^18⌋ = ⌊⌊x/10^9⌋/10^9⌋ towards −∞."""
    return trim(_divide(_divide(x, _E9, 0), _E9, 0))


def ceil_wad(x: Ints) -> Ints:
    """⌈x/10^18⌉ = ⌈⌈x/10^9⌉/10^9⌉ towards +∞."""
    return ceil_div_small(_divide(x, _E9, _E9 - 1), _E9)


def _divide(x: Ints, d: int, carry: int) -> Ints:
    """⌊(x + carry)/d⌋, carry < 2^32: long division from the top, the carry joins the last step.

    Its quotient limb may then reach 2^30 + 1, which the next division takes as it is.
    """
    out = np.empty_like(x)
    part = x[-1]
    for j in range(len(x) - 1, -1, -1):
        if j == 0 and carry:
            part = part + carry
        np.floor_divide(part, d, out=out[j])
        if j:
            part = (part - out[j] * d << BITS) + x[j - 1]
    return out


def constant(value: int) -> Ints:
    """One column that stands for all."""
    limbs = []
    while not -BASE <= value < BASE:
        limbs.append(value & MASK)
        value >>= BITS
    return np.array([*limbs, value], dtype=np.int64)[:, None]


def floor_div(x: Ints, d: int) -> Ints:
    """⌊x/d⌋ of x ≥ 0 by any constant d > 0.

    With x < 2^t and m = ⌊2^t/d⌋ the estimate ⌊x·m/2^t⌋ is the quotient or one less, because
    x/d − x·m/2^t = x·(2^t/d − m)/2^t < x/2^t < 1; one comparison mends it.
    """
    if d < 1 << 32:
        return floor_div_small(x, d)
    shift = len(x)  # t = 30·L
    product = mul(x, constant((1 << BITS * shift) // d))
    if len(product) <= shift:
        quotient = zeros(x.shape[1])
    else:
        quotient = product[shift:]
    rest = sub(x, mul(quotient, constant(d)))
    return trim(add(quotient, (~is_negative(sub(rest, constant(d)))).astype(np.int64)[None]))


def ceil_div(x: Ints, d: int) -> Ints:
    """⌈x/d⌉ of x ≥ 0 by any constant d > 0."""
    return floor_div(add(x, constant(d - 1)), d)


def floor_div_signed(x: Ints, d: int) -> Ints:
    """⌊x/d⌋ towards −∞ of any x: ⌊−y/d⌋ = −⌈y/d⌉."""
    negative = is_negative(x)
    # for x < 0: −⌊(|x| + d − 1)/d⌋
    lifted = add(absolute(x), mul(negative.astype(np.int64)[None], constant(d - 1)))
    return negate_where(floor_div(lifted, d), negative)


def floor_div_each(x: Ints, d: Ints) -> Ints:
    """⌊x/d⌋ towards −∞, each column by its own 0 < d < 2^62.

    Of x below 2^240.  The quotient of the remainder, in float64, is added until it rounds to 0;
    a round leaves less than 2^-40 of the remainder, or about d/2, so seven are enough for 240 bits.
    Comparisons on whole numbers mend what is left, and the last line checks it.
    """
    wide = canonical(np.stack([d & MASK, d >> BITS]))
    divisor = d.astype(np.float64)
    quotient, rest = zeros(x.shape[1]), x
    for _ in range(_ROUNDS):
        step = np.rint(to_float(rest) / divisor)
        if not step.any():
            break
        part = from_whole_floats(step)
        quotient = add(quotient, part)
        rest = trim(sub(rest, mul(part, wide)))
    for _ in range(2):
        below, above = is_negative(rest), ~is_negative(sub(rest, wide))
        if not (below.any() or above.any()):
            break
        move = (above.astype(np.int64) - below)[None]
        quotient, rest = add(quotient, move), sub(rest, mul(move, wide))
    assert not is_negative(rest).any() and is_negative(sub(rest, wide)).all()
    return trim(quotient)


def from_whole_floats(values: Floats) -> Ints:
    """Wide of whole numbers below 2^240 in float64, exact: every difference is representable."""
    rest, out = np.abs(values), []
    for j in range(7, -1, -1):
        limb = np.floor(rest / float(BASE) ** j)
        rest = rest - limb * float(BASE) ** j
        out.append(limb.astype(np.int64))
    return trim(canonical(np.where(values < 0, -np.stack(out[::-1]), np.stack(out[::-1]))))


def segment_sum(x: Ints, pointer: Ints) -> Ints:
    """Σ of the columns pointer[i] … pointer[i+1] − 1 for every i; empty segments give 0."""
    out = np.zeros((len(x), len(pointer) - 1), dtype=np.int64)
    filled = np.flatnonzero(pointer[1:] > pointer[:-1])
    if len(filled):
        out[:, filled] = np.add.reduceat(x, pointer[filled], axis=1)
    return canonical(out)


def group_sum(x: Ints, group: Ints, count: int) -> Ints:
    """Σ of the columns of each group 0 … count − 1.

    In float64, exactly: limbs are at most 2^30 in size, so sums of fewer than 2^22 columns are
    whole numbers below 2^53.
    """
    assert x.shape[1] < 1 << 22
    out = np.empty((len(x), count), dtype=np.int64)
    for j in range(len(x)):
        out[j] = np.bincount(group, weights=x[j], minlength=count)
    return canonical(out)


def to_float(x: Ints) -> Floats:
    """Float64; |error| ≤ 2L·2^−53·|x|: all terms of |x| have one sign."""
    magnitude = absolute(x)
    out = np.zeros(x.shape[1])
    for j in range(len(magnitude) - 1, -1, -1):
        out = out * float(BASE) + magnitude[j]
    return np.where(is_negative(x), -out, out)
