"""Compare our template with the published one: python -m train_nano.check_template PUBLISHED.jinja"""

import random
import sys
from pathlib import Path
from typing import Any

from train_nano.chat import TEMPLATE, environment

WORDS = ["hello", " the sky ", "a\nb", "{x}", 'say "it"', "3.5", "<b>"]


def value(rng: random.Random, depth: int = 0) -> Any:
    simple = [None, True, False, 3, -2.5, rng.choice(WORDS)]
    if depth < 2 and rng.random() < 0.3:
        if rng.random() < 0.5:
            return [value(rng, depth + 1) for _ in range(rng.randint(0, 3))]
        return {k: value(rng, depth + 1) for k in rng.sample("abcd", rng.randint(1, 3))}
    return rng.choice(simple)


def parts(rng: random.Random) -> Any:
    if rng.random() < 0.5:
        return rng.choice(WORDS)
    kinds = rng.choices(["text", "image", "audio", "video"], k=rng.randint(1, 4))
    return [{"type": k, "text": rng.choice(WORDS)} if k == "text" else {"type": k} for k in kinds]


def tool(rng: random.Random) -> dict[str, Any]:
    names = rng.sample(["city", "n", "unit", "flag"], rng.randint(0, 3))
    properties = {n: {"type": rng.choice(["string", "number"])} for n in names}
    for spec in properties.values():
        if rng.random() < 0.7:
            spec["description"] = rng.choice(WORDS)
        if rng.random() < 0.3:
            spec["enum"] = ["x", "y"]
    schema = {"type": "object", "properties": properties, "required": names[:1]}
    return {"type": "function", "function": {"name": "f", "description": rng.choice(WORDS), "parameters": schema}}


def conversation(rng: random.Random) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    if rng.random() < 0.4:
        messages.append({"role": "system", "content": rng.choice(WORDS)})
    for turn in range(rng.randint(1, 3)):
        messages.append({"role": "user", "content": parts(rng)})
        if rng.random() < 0.4:
            names = [f"get_{i}" for i in range(rng.randint(1, 2))]
            calls = [
                {"id": f"{turn}{n}", "function": {"name": n, "arguments": {"q": value(rng), "a": value(rng)}}}
                for n in names
            ]
            messages.append({"role": "assistant", "content": "", "tool_calls": calls})
            if rng.random() < 0.3:
                messages[-1]["reasoning"] = "because"
            if rng.random() < 0.9:
                for n in names:
                    content = rng.choice([rng.choice(WORDS), [{"type": "text", "text": "a"}]])
                    messages.append({"role": "tool", "tool_call_id": f"{turn}{n}", "content": content})
                if rng.random() < 0.6:
                    messages.append({"role": "assistant", "content": rng.choice(WORDS)})
        elif rng.random() < 0.7:
            said = rng.choice(WORDS)
            messages.append(
                {"role": "assistant", "content": rng.choice([said, f"<|channel>thought\nt\n<channel|>{said}"])}
            )
    return messages


def main(published: str) -> int:
    theirs = environment().from_string(Path(published).read_text())
    ours = environment().from_string(TEMPLATE.read_text())
    rng = random.Random(0)
    different = 0
    for _ in range(5000):
        context = {
            "messages": conversation(rng),
            "tools": [tool(rng) for _ in range(rng.randint(1, 2))] if rng.random() < 0.3 else None,
            "enable_thinking": rng.random() < 0.4,
            "add_generation_prompt": rng.random() < 0.8,
            "bos_token": "<bos>",
        }
        want, got = theirs.render(**context), ours.render(**context)
        if want != got:
            different += 1
            if different <= 3:
                print(f"{context}\nwant {want!r}\ngot  {got!r}\n")
    print(f"{different} of 5000 conversations differ")
    return int(different > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
