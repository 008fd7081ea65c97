"""The doctor's kernels against float64: rounding passes, and a kernel that is wrong as past ones were is named."""

from collections.abc import Callable
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from gemma4_mlx.measure import kernels
from gemma4_mlx.measure.checks import Check
from gemma4_mlx.measure.kernels import Case, Rounding, cases, checked, row_error, unpacked, verdict
from gemma4_mlx.model import attention, rows

cpu_attention = mx.fast.scaled_dot_product_attention
real_product = mx.quantized_matmul
real_softmax = mx.softmax


def real_attention(q: mx.array, k: mx.array, v: mx.array, **options: Any) -> mx.array:
    """As on Metal, with scores in float32; a CPU rounds those of 16 bits."""
    return cpu_attention(*(x.astype(mx.float32) for x in (q, k, v)), **options).astype(q.dtype)


@pytest.fixture(autouse=True)
def as_on_metal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mx.fast, "scaled_dot_product_attention", real_attention)


def window(keys: int, bits: int | None) -> Case:
    return kernels._sliding_decode(mx.float32, keys, bits)


def run(case: Case, dtype: mx.Dtype = mx.float32) -> Check:
    return checked(case, mx.cpu, dtype)


def test_the_shapes_are_those_of_the_12b(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[Any, ...]] = []
    for name in ("_sliding_decode", "_segments", "_full", "_sliding_tile"):
        monkeypatch.setattr(kernels, name, lambda _, *sizes, name=name: made.append((name, *sizes)))
    cases(mx.bfloat16, 512)
    assert {sizes[1:] for sizes in made if sizes[0] == "_sliding_decode"} == {
        (1023, None), (1024, None), (1025, None), (4096, None), (1023, 8), (1024, 8), (1025, 8),
    }  # fmt: skip
    assert {sizes[1:] for sizes in made if sizes[0] == "_segments"} == {
        (8229, 128, 8), (8229, 384, 8), (8229, 128, 4), (8229, 384, 4),
    }  # fmt: skip
    assert {sizes[1:] for sizes in made if sizes[0] == "_full"} == {
        (2048, 1, None), (8229, 1, 8), (8229, 1, 4), (8192, 512, None), (8192, 512, 8),
    }  # fmt: skip
    assert {sizes[1:] for sizes in made if sizes[0] == "_sliding_tile"} == {(8,), (256,)}
    assert kernels.full_attention.tile_size(16, 16, 8192) == 256


@pytest.mark.parametrize(("keys", "bits"), [(1024, None), (1025, 8)])
def test_a_window_agrees(keys: int, bits: int | None) -> None:
    check = run(window(keys, bits))
    assert check.agrees
    assert 0.05 < (check.times or 0) < 0.7
    assert check.name.startswith(f"decode over {keys:,} keys")


@pytest.mark.parametrize("dtype", [mx.bfloat16, mx.float16])
def test_what_a_16_bit_type_rounds_is_not_taken_for_a_wrong_kernel(dtype: mx.Dtype) -> None:
    for case in (kernels._sliding_decode(dtype, 1024, None), kernels._full(dtype, 300, 1, None)):
        check = run(case, dtype)
        assert check.agrees
        assert float(check.found) > 1e-4
        assert verdict([check]).startswith("no wrong kernel: all 1 are within rounding, at most 0.")


def test_scores_of_packed_rows_are_rounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of few queries, in the two parts that a full layer has, each summed up in float32 as on Metal."""

    def product(x: mx.array, weight: mx.array, *scales: mx.array, **options: Any) -> mx.array:
        wide = (part.astype(mx.float32) for part in scales)
        return real_product(x.astype(mx.float32), weight, *wide, **options).astype(x.dtype)

    monkeypatch.setattr(mx, "quantized_matmul", product)
    dtype = mx.bfloat16
    for case in (kernels._sliding_decode(dtype, 1024, 8), *(kernels._full(dtype, 300, 1, bits) for bits in (8, 4))):
        assert run(case, dtype).agrees


def test_other_orders_of_summing_are_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    """In 64 parts, each rounded to the type, as a kernel in two passes adds them up."""

    def in_two_passes(q: mx.array, k: mx.array, v: mx.array, *, scale: float, mask: Any = None) -> mx.array:
        k, v = (mx.repeat(x, q.shape[1] // x.shape[1], axis=1) for x in (k, v))
        weights = mx.softmax(q.astype(mx.float32) @ k.swapaxes(-1, -2).astype(mx.float32), axis=-1)
        parts = [
            (w @ x.astype(mx.float32)).astype(q.dtype)
            for w, x in zip(mx.split(weights, 64, axis=-1), mx.split(v, 64, axis=2), strict=True)
        ]
        return sum(part.astype(mx.float32) for part in parts).astype(q.dtype)

    monkeypatch.setattr(mx.fast, "scaled_dot_product_attention", in_two_passes)
    assert run(kernels._sliding_decode(mx.bfloat16, 1024, None), mx.bfloat16).agrees


def without_the_last_keys(q: mx.array, k: mx.array, v: mx.array, **options: Any) -> mx.array:
    """Wrong from 1,024 keys on: what is left behind whole blocks is not added up."""
    kept = k.shape[2] - 8 if k.shape[2] >= 1024 else k.shape[2]
    return real_attention(q, k[:, :, :kept], v[:, :, :kept], **options)


def twice_the_first_block(q: mx.array, k: mx.array, v: mx.array, **options: Any) -> mx.array:
    if k.shape[2] < 1024:
        return real_attention(q, k, v, **options)
    k, v = (mx.concatenate([x[:, :, :32], x], axis=2) for x in (k, v))
    return real_attention(q, k, v, **options)


def other_heads(q: mx.array, k: mx.array, v: mx.array, **options: Any) -> mx.array:
    return (
        real_attention(q, mx.roll(k, 1, axis=1), v, **options)
        if k.shape[2] >= 1024
        else real_attention(q, k, v, **options)
    )


def no_numbers(q: mx.array, k: mx.array, v: mx.array, **options: Any) -> mx.array:
    return real_attention(q, k, v, **options) * (np.nan if k.shape[2] >= 1024 else 1)


@pytest.mark.parametrize("wrong", [without_the_last_keys, twice_the_first_block, other_heads, no_numbers])
@pytest.mark.parametrize("dtype", [mx.float32, mx.bfloat16])
def test_a_wrong_attention_from_1024_keys_on_is_named(
    wrong: Callable[..., mx.array], dtype: mx.Dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mx.fast, "scaled_dot_product_attention", wrong)
    found = [run(kernels._sliding_decode(dtype, keys, None), dtype) for keys in (1023, 1024)]
    assert [check.agrees for check in found] == [True, False]
    said = verdict(found)
    name = "decode over 1,024 keys, plain (sdpa_vector, from 1,024 2pass) on the cpu"
    assert said.startswith(f"**1 wrong kernel**, as this is more than rounding: {name}: ")
    assert "\n" not in said


def without_the_last_columns(x: mx.array, *packed: mx.array, transpose: bool, **options: Any) -> mx.array:
    """Packed rows from 1,024 on: the last 32 columns are never written, as in `qvm_split_k` once."""
    product = real_product(x, *packed, transpose=transpose, **options)
    if transpose or x.shape[-1] < 1024:
        return product
    return product * (mx.arange(product.shape[-1]) < product.shape[-1] - 32)


def test_a_wrong_product_with_packed_rows_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mx, "quantized_matmul", without_the_last_columns)
    found = [run(case) for case in (window(1024, None), window(1023, 8), window(1024, 8))]
    found.append(run(kernels._segments(mx.float32, 5000, 128, 4)))
    assert [check.agrees for check in found] == [True, True, False, False]
    assert "decode over 1,024 keys, 8-bit (qmv, qvm_split_k) on the cpu" in verdict(found)
    assert "sum of 5,000 rows of 128, 4-bit (qmm_n in segments) on the cpu" in verdict(found)


def test_a_tile_that_is_wrong_at_its_edge_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    case = kernels._full(mx.float32, 200, 16, None)
    monkeypatch.setattr(kernels.full_attention, "SCORES_BUDGET", 16 * 8 * 200 * 8)  # two tiles of 8
    assert run(case).agrees
    real = kernels.full_attention._attend

    def shifted(turned: mx.array, rest: mx.array, cache: Any, stop: int) -> mx.array:
        return real(turned, rest, cache, stop - (stop == 200))

    monkeypatch.setattr(kernels.full_attention, "_attend", shifted)
    assert not run(case).agrees


def test_guesses_are_checked_by_the_kernel_of_few_queries(monkeypatch: pytest.MonkeyPatch) -> None:
    case = kernels._sliding_tile(mx.bfloat16, 8)
    assert run(case, mx.bfloat16).agrees
    monkeypatch.setattr(mx.fast, "scaled_dot_product_attention", other_heads)
    check = run(case, mx.bfloat16)
    assert not check.agrees
    assert check.name == "8 queries of 256 over 1,031 keys, masked (sdpa_vector, from 1,024 2pass, with a mask)"


@pytest.mark.parametrize("path", ["a tile", "a step"])
def test_scores_that_are_rounded_after_all_are_named(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if what the rounding added were taken off after it was rounded away."""
    dtype, module = mx.bfloat16, attention if path == "a tile" else rows
    case = kernels._sliding_tile(dtype, 16) if path == "a tile" else kernels._full(dtype, 300, 1, None)
    assert run(case, dtype).agrees

    def ineffective(a: mx.array, b: mx.array, onto: mx.array | None = None) -> mx.array:
        return (a @ b if onto is None else mx.addmm(onto.astype(a.dtype), a, b)).astype(mx.float32)

    monkeypatch.setattr(module, "float32_product", ineffective)
    assert not run(case, dtype).agrees


def test_a_kernel_that_fails_is_a_result(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("[metal::Device] Unable to load kernel sdpa_vector")

    monkeypatch.setattr(mx.fast, "scaled_dot_product_attention", fail)
    check = run(window(1024, None))
    assert not check.agrees
    assert check.found == "RuntimeError: [metal::Device] Unable to load kernel sdpa_vector"
    assert "1 wrong kernel" in verdict([check])


def test_what_differs_otherwise_is_told_from_kernels() -> None:
    good, bad = Check("k", "gpu", "", "", agrees=True, times=0.5), Check("rolled back", "gpu", "", "", agrees=False)
    assert verdict([good, bad]) == (
        "no wrong kernel: all 1 are within rounding, at most 0.50 of what it may be. "
        "So it is no kernel of these that the 1 others differ by"
    )


def test_rounding_is_that_of_the_types() -> None:
    numbers = np.array([1.0, 1 + 2**-8, 1 + 3 * 2**-9, -(2**-9) - 1, 3.14159265358979, 1e-3])
    for dtype in (mx.bfloat16, mx.float16, mx.float32):
        expected = np.array(mx.array(numbers.astype(np.float32)).astype(dtype).astype(mx.float32))
        np.testing.assert_array_equal(Rounding(dtype)(numbers), expected)
    np.testing.assert_array_equal(Rounding(mx.bfloat16, exact=True)(numbers), numbers)


@pytest.mark.parametrize("bits", [4, 8])
def test_packed_rows_are_read_without_mlx(bits: int) -> None:
    rows = mx.random.normal((1, 2, 3, 128), key=mx.random.key(1))
    packed = mx.quantize(rows, group_size=64, bits=bits)
    expected = np.array(mx.dequantize(*packed, group_size=64, bits=bits))[0]
    np.testing.assert_allclose(unpacked(packed, bits), expected, rtol=1e-5, atol=1e-6)


def test_the_worst_row_counts() -> None:
    exact = np.array([[3.0, 4.0], [0.0, 1.0]])
    assert row_error(exact + np.array([[0, 0], [0, 0.5]]), exact) == 0.5
    assert row_error(np.array([[np.nan, 4.0], [0.0, 1.0]]), exact) == float("inf")
