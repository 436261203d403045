"""`python -m benchmarks.routing.choosing result.json`: docs/choosing-a-strategy.md, its numbers from that result."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING

from benchmarks.results import ROOT, read
from benchmarks.routing.examples import EXAMPLES
from benchmarks.routing.figures import KINDS
from benchmarks.routing.outcome import Numbers
from benchmarks.routing.section import show

if TYPE_CHECKING:
    from benchmarks.results import Result
    from benchmarks.routing.examples import Example

PAGE = ROOT / "docs/choosing-a-strategy.md"
_HEAD = """\
# Choosing a strategy

**Send `routing-strategy: prefix-cache-and-load`.
Where requests share nothing, or the body shall not be read: `least-request`.** The rest is for those who have a reason.

<!-- Written by `python -m benchmarks.routing.choosing {source}`; do not edit. -->

One worked example per strategy: the traffic, the header, what happens, and what the routing benchmark measured there,
beside others. TTFT is the time to the first token; all numbers are medians of {seeds} seeds in virtual time
([what is simulated](simulator.md)); `python -m benchmarks.routing` measures them anew. Strategies are described in
[routing.md](routing.md); a model's profile can set them, and a model can lock its own.
"""


def page(result: Result, source: str) -> str:
    """The whole page of a result that is kept at `source`; examples of what was not measured are left out."""
    numbers = Numbers.of(result)
    parts = [_HEAD.format(seeds=result.repeats, source=source), *(_example(numbers, example) for example in EXAMPLES)]
    return "\n".join(part.strip("\n") + "\n" for part in parts if part)


def _example(numbers: Numbers, example: Example) -> str:
    if example.strategy not in numbers.strategies or example.workload not in numbers.workloads:
        return ""
    headers = "".join(f' \\\n     -H "{header}"' for header in (example.headers,) if header)
    rows = [_row(numbers, example, strategy) for strategy in (example.strategy, *example.beside)]
    title = numbers.workloads[example.workload]
    return f"""
## {example.strategy}

{example.traffic}

```sh
curl http://127.0.0.1:10080/v1/chat/completions -H "routing-strategy: {example.strategy}"{headers} \\
     -H "Content-Type: application/json" -d @request.json
```

{example.happens}

Measured on `{example.workload}` ({title}):

| strategy | {" | ".join(f"{kind} ({KINDS[kind].unit})" for kind in example.kinds)} |
{"|---" * (len(example.kinds) + 1)}|
{chr(10).join(rows)}

{_verdict(numbers, example)}
"""


def _row(numbers: Numbers, example: Example, strategy: str) -> str:
    name = f"**{strategy}**" if strategy == example.strategy else strategy
    return f"| {name} | {' | '.join(show(numbers(example.workload, strategy, kind), kind) for kind in example.kinds)} |"


def _verdict(numbers: Numbers, example: Example) -> str:
    kind = example.kinds[0]
    best, value = numbers.best(example.workload, kind)
    own = numbers(example.workload, example.strategy, kind)
    if own is None or best == example.strategy or not value:
        return f"Of all {len(numbers.strategies)} strategies it has the best {kind} there."
    return f"The best {kind} of all {len(numbers.strategies)} there: {show(value, kind)} {KINDS[kind].unit}, by {best}."


def source_of(text: str) -> str:
    """The path of the result that a page was written from; raises ValueError."""
    found = re.search(r"benchmarks\.routing\.choosing (\S+)`", text)
    if found is None:
        raise ValueError(f"{PAGE} does not say which result it was written from")
    return found[1]


def main() -> None:
    """Writes the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.routing.choosing", description=__doc__)
    parser.add_argument("result", nargs="?", help="routing.json of a full run, from the project's root; else as before")
    source = parser.parse_args().result or source_of(PAGE.read_text())
    PAGE.write_text(page(read(ROOT / source), source))


if __name__ == "__main__":
    main()
