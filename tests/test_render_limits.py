"""No template takes for ever or makes more than a model can read, and none that is in use notices."""

import time
from pathlib import Path
from typing import Any

import pytest

from gemma4_mlx.errors import GemmaError
from gemma4_mlx.prompt import render_limits
from gemma4_mlx.prompt.processor import Processor
from gemma4_mlx.prompt.template import ChatTemplate

LOOP, END = "{% for a in range(99999) %}", "{% endfor %}"
DOUBLED = "{% set ns = namespace(x='xx') %}" + LOOP + "{% set ns.x = BOTH %}" + END
SHARED = (
    "{% set ns = namespace(x=X, y=X) %}{% for i in range(60) %}{% set ns.x = PAIR %}{% set ns.y = PAIR %}{% endfor %}"
)
LISTS = SHARED.replace("X", "[1]").replace("PAIR", "[ns.x, ns.x]", 1).replace("PAIR", "[ns.y, ns.y]")
TUPLES = SHARED.replace("X", "(1,)").replace("PAIR", "(ns.x, ns.x)", 1).replace("PAIR", "(ns.y, ns.y)")

TOO_MUCH = {
    "filter": "{{ 'x' | center(2000000000) }}",
    "filter's name": "{{ 'x' | center(width=2000000000) }}",
    "filter block": "{% filter center(2000000000) %}x{% endfilter %}",
    "mapped filter": "{{ ['x'] | map('center', 2000000000) | list }}",
    "method": "{{ 'x'.center(2000000000) }}",
    "method by name": "{{ 'x'['ljust'](2000000000) }}",
    "method as a filter": "{{ ('x' | attr('rjust'))(2000000000) }}",
    "method in a variable": "{% set f = '1'.zfill %}{{ f(2000000000) }}",
    "bytes of a number": "{{ (1).to_bytes(2000000000, 'big') | length }}",
    "text times a number": "{{ 'x' * 2000000000 }}",
    "number times a text": "{{ 2000000000 * 'x' }}",
    "list times a number": "{{ [0] * 2000000000 }}",
    "twice a text": DOUBLED.replace("BOTH", "ns.x ~ ns.x"),
    "text and text": DOUBLED.replace("BOTH", "ns.x + ns.x"),
    "joined texts": DOUBLED.replace("BOTH", "[ns.x, ns.x] | join"),
    "texts joined by a method": DOUBLED.replace("BOTH", "''.join([ns.x, ns.x])"),
    "replaced by two": DOUBLED.replace("BOTH", "ns.x.replace('x', 'xx')"),
    "replaced by two in a filter": DOUBLED.replace("BOTH", "ns.x | replace('x', 'xx')"),
    "formatted twice": DOUBLED.replace("BOTH", "'%s%s' % (ns.x, ns.x)"),
    "formatted twice in a filter": DOUBLED.replace("BOTH", "'%s%s' | format(ns.x, ns.x)"),
    "formatted twice by a method": DOUBLED.replace("BOTH", "'{0}{0}'.format(ns.x)"),
    "block of two": DOUBLED.replace(
        "{% set ns.x = BOTH %}", "{% set y %}{{ ns.x }}{{ ns.x }}{% endset %}{% set ns.x = y %}"
    ),
    "macro of two": "{% macro two(x) %}{{ x }}{{ x }}{% endmacro %}" + DOUBLED.replace("BOTH", "two(ns.x)"),
    "lists in lists": LISTS + "{{ ns.x }}",
    "lists in lists, as text": LISTS + "{{ ns.x | string | length }}",
    "lists in lists, joined": LISTS + "{{ (ns.x ~ '') | length }}",
    "lists in lists, as JSON": LISTS + "{{ ns.x | tojson | length }}",
    "lists in lists, compared": LISTS + "{{ ns.x == ns.y }}",
    "lists in lists, tested": LISTS + "{{ ns.x is eq(ns.y) }}",
    "lists in lists, looked for": LISTS + "{{ ns.x in [ns.y] }}",
    "lists in lists, looked for by a method": LISTS + "{{ [ns.x].index(ns.y) }}",
    "lists in lists, sorted": LISTS + "{{ [ns.x, ns.y] | sort | length }}",
    "tuples in tuples, as a key": TUPLES + "{{ {ns.x: 1} | length }}",
    "tuples in tuples, as a name": TUPLES + "{{ {}[ns.x] }}",
    "tuples in tuples, asked for": TUPLES + "{{ {}.get(ns.x) }}",
    "power": "{{ 9 ** (9 ** 9) }}",
    "powers of powers": "{% set ns = namespace(x=3) %}" + LOOP + "{% set ns.x = ns.x * ns.x %}" + END,
    "format": "{{ '%2000000000d' % 1 }}",
    "format with a star": "{{ '%*d' % (2000000000, 1) }}",
    "format filter": "{{ '%.2000000000f' | format(1) }}",
    "format method": "{{ '{:2000000000}'.format(1) }}",
    "format in a format": "{{ '{:{}}'.format(1, '2000000000') }}",
    "format of a map": "{{ '{a:2000000000}'.format_map({'a': 1}) }}",
    "long joints": "{{ range(99999) | join('x' * 1000000) }}",
    "one text many times": "{{ (['x' * 1000000] * 9999) | join }}",
    "long replacements": "{{ ('x' * 1000000).replace('', 'y' * 1000000) }}",
    "tabs": "{{ ('\t' * 1000000).expandtabs(1000000) }}",
    "translation": "{{ ('a' * 1000000).translate({97: 'x' * 1000000}) }}",
    "indented JSON": "{{ [1] | tojson(indent=2000000000) }}",
    "indented lines": "{{ ('\n' * 100000) | indent(1000000, blank=true) }}",
    "links": "{{ ('a.b/' * 1000000) | urlize }}",
    "comments": "{{ ('<!-- -->' * 1000000) | striptags }}",
    "batch": "{{ [1] | batch(2000000000, 'x') | list }}",
    "slices": "{{ [1] | slice(2000000000) | list }}",
    "rounding": "{{ 1.5 | round(2000000000, 'ceil') }}",
    "time": "{{ strftime_now('%2000000000Y') }}",
}
TOO_LONG = {
    "loops in loops": LOOP * 3 + END * 3,
    "loops that write": LOOP * 3 + "x" + END * 3,
    "long rounds": LOOP + "{% if a %}{% endif %}" * 99 + END,
    "loop over a text": "{% for a in 'x' * 1000000 %}{% for b in 'x' * 1000000 %}{% endfor %}{% endfor %}",
    "loop with a condition": LOOP + "{% for b in range(99999) if b is eq(-1) %}{% endfor %}" + END,
    "filters in loops": LOOP + "{{ range(99999) | select('odd') | list | length }}" + END,
    "filters of filters": "{{ ([range(99999)] * 9999) | map('list') | list | length }}",
    "macro that calls itself twice": (
        "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(60) }}"
    ),
    "loop that calls itself twice": (
        "{% for x in [1] recursive %}{% if loop.depth < 60 %}{{ loop([1]) }}{{ loop([1]) }}{% endif %}{% endfor %}"
    ),
}
WRONG = {
    "calls itself": "{% macro m(n) %}{{ m(n + 1) }}{% endmacro %}{{ m(0) }}",
    "loops that Python can't nest": LOOP * 50 + END * 50,
    "parentheses": "{{ " + "(" * 100000 + "1" + ")" * 100000 + " }}",
    "minus": "{{ " + "-" * 100000 + "1 }}",
    "source": "{{ a }}" * 100000,
    "words of nobody": "{{ lipsum(n=100000) }}",
}


def render(source: str, **variables: Any) -> str:
    return ChatTemplate(source, longest=2**20).render([{"role": "user", "content": "x"}], **variables)


@pytest.mark.parametrize("name", TOO_MUCH)
def test_a_template_that_makes_too_much_is_refused_before_it_does(name: str) -> None:
    before = render_limits.peak_memory()
    with pytest.raises(GemmaError, match="these messages can't be rendered") as error:
        render(TOO_MUCH[name])
    assert "template" in str(error.value)
    assert "\n" not in str(error.value)
    assert render_limits.peak_memory() - before < 300e6


@pytest.mark.parametrize("name", TOO_LONG)
def test_a_template_that_takes_too_long_is_stopped(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render_limits, "SECONDS", 0.05)
    begun = time.thread_time()
    with pytest.raises(GemmaError, match=r"the template takes more than 0\.05 seconds"):
        render(TOO_LONG[name])
    assert time.thread_time() - begun < 1


@pytest.mark.parametrize("name", WRONG)
def test_a_template_that_is_wrong_in_another_way_is_one_line(name: str) -> None:
    with pytest.raises(GemmaError, match=r"can't be rendered|not a Jinja template|a template of more than"):
        render(WRONG[name])


def test_what_is_kept_counts_together(monkeypatch: pytest.MonkeyPatch) -> None:
    held = iter(range(0, 10**9, 10**7))  # bytes, at each look
    monkeypatch.setattr(render_limits, "peak_memory", lambda: next(held))
    source = "{% set ns = namespace(all=[]) %}" + LOOP + "{% set ns.all = ns.all + ['x' * 100000] %}" + END
    with pytest.raises(GemmaError, match="the template takes more than 150 MB of memory"):
        render(source)
    assert next(held) < 3e8


def test_the_output_is_limited_by_what_the_model_can_read() -> None:
    template = ChatTemplate("{% for a in range(20) %}{{ 'x' * 10 }}{% endfor %}", longest=199)
    with pytest.raises(GemmaError, match="makes more than the 199 characters that the model can read"):
        template.render([{"role": "user", "content": "x"}])
    assert ChatTemplate("{{ 'x' * 199 }}", longest=199).render([]) == "x" * 199


def test_ordinary_templates_say_what_they_did() -> None:
    source = (
        "{{ 'a' ~ 1 ~ [2] ~ none }}{{ '%s-%03d' % ('b', 7) }}{{ '{}{x}'.format(1, x=2) }}{{ [1, 2] + [3] }}"
        "{{ 2 ** 10 }}{{ 7 % 4 }}{{ 'ab' * 2 }}{{ 'abc'[1:] }}{{ [1, 2, 3] | join('-') }}{{ 'x' | indent(2, true) }}"
        "{% for a, b in {'k': 1}.items() %}{{ a }}{{ b }}{{ loop.length }}{% endfor %}"
        "{{ {'k': [1]} | tojson(indent=2) }}"
        "{% for x in ['p', 'q'] | map('upper') %}{{ loop.index }}{{ x }}{{ loop.last }}{% endfor %}"
        "{{ [1] == [1] }}{{ x is defined }}{{ none_such }}{{ 'a.b'.split('.') }}{{ ' t '.strip() ~ 'T'.lower() }}"
    )
    assert render(source, x=3) == (
        "a1[2]Noneb-00712[1, 2, 3]10243ababbc1-2-3  xk11{\n  \"k\": [\n    1\n  ]\n}1PFalse2QTrueTrueTrue['a', 'b']tt"
    )


def test_many_messages_have_their_time(
    processor: Processor, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(render_limits, "SECONDS", 0.01)
    messages = [{"role": ("user", "assistant")[n % 2], "content": "hello"} for n in range(401)]
    assert len(processor.prompt(messages).ids) > 401
