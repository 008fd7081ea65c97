"""A few random inputs for each target of the fuzz; `python tests/fuzz.py` goes on for as long as one likes."""

import random

import pytest
from fuzz import TARGETS


@pytest.mark.parametrize("name", TARGETS)
def test_random_input_is_digested(name: str) -> None:
    chance = random.Random(7)
    for size in (64, 512, 512, 4096):
        TARGETS[name].hypothesis.fuzz_one_input(chance.randbytes(size))
