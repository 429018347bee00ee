"""Computes many seeds at once, each from several numbers."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt64

# constants of numpy's SeedSequence, after https://www.pcg-random.org/posts/developing-a-seed_seq-alternative.html
_FIRST_FACTOR, _NEXT_FACTOR = 0x43B0D7E5, 0x931E8875
_FIRST_OUTPUT_FACTOR, _NEXT_OUTPUT_FACTOR = 0x8B51F9DD, 0x58F38DED
_MIX_LEFT, _MIX_RIGHT = 0xCA01F9DD, 0x4973F715
_POOL_SIZE = 4
_MODULUS = 2**32


def mix_seeds(common: tuple[int, int, int, int], last: Sequence[int]) -> UInt64[np.ndarray, " last"]:
    """``SeedSequence((*common, value)).generate_state(1, np.uint64)[0]`` for each value of ``last``.

    ``SeedSequence`` makes a pool from the first four words (of 32 bits) and then mixes each further word into it. So
    numpy computes the pool of the common numbers once, and only the last word is mixed here. Creating one
    ``SeedSequence`` for each seed would take longer than cropping and flipping a small image.

    Args:
        common: First numbers of all seeds, each at least 0.
        last: Last number of each seed, at least 0 and below 2**32.

    Raises:
        OverflowError: A last number is out of range.
    """
    pool = np.random.SeedSequence(common).pool
    # one factor has been used for each word and each element of the pool
    num_words = sum(max(1, -(-int(number).bit_length() // 32)) for number in common)
    factor = _FIRST_FACTOR * pow(_NEXT_FACTOR, num_words * _POOL_SIZE, _MODULUS)
    output_factor = _FIRST_OUTPUT_FACTOR
    words = np.array(last, np.uint32)
    seeds = np.zeros(len(words), np.uint64)
    for half in range(2):
        hashed = _hash(words, factor, _NEXT_FACTOR)
        mixed = _xor_shift(_word(_MIX_LEFT * int(pool[half])) - _word(_MIX_RIGHT) * hashed)
        seeds |= _hash(mixed, output_factor, _NEXT_OUTPUT_FACTOR).astype(np.uint64) << np.uint64(32 * half)
        factor, output_factor = factor * _NEXT_FACTOR, output_factor * _NEXT_OUTPUT_FACTOR
    return seeds


def _hash(words: np.ndarray, factor: int, next_factor: int) -> np.ndarray:
    return _xor_shift((words ^ _word(factor)) * _word(factor * next_factor))


def _xor_shift(words: np.ndarray) -> np.ndarray:
    return words ^ words >> np.uint32(16)


def _word(number: int) -> np.uint32:
    return np.uint32(number % _MODULUS)
