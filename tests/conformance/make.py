"""Makes the conformance pack: every case, with Lava's verdict. `python tests/conformance/make.py`

Prints what the verdicts show and which wrong simulators they catch, the tables of docs/conformance.md. Twice on the
same machine, it writes the same bytes.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.append(str(Path(__file__).parents[1] / "helpers"))
import numpy as np

from conformance import CASES, MANIFEST, coverage, coverage_table, mutation_table, packed, question, sha256, verdicts
from conformance_cases import cases
from mutated_chip import MUTATIONS, simulate


def make() -> None:
    """Write the pack. Nothing is written if a case does not show what it is for, or a mistake passes all cases."""
    every = cases()
    judged, version = verdicts(every)
    whole = {case.name: question(case) | verdict for case, verdict in zip(every, judged, strict=True)}
    shown = {name: sorted(coverage(arrays)) for name, arrays in whole.items()}
    for case in every:
        if missing := set(case.shows) - set(shown[case.name]):
            sys.exit(f"{case.name}: the verdict does not show: {', '.join(sorted(missing))}")
    for name, arrays in whole.items():
        if different := [key for key, ours in simulate(arrays).items() if (ours != arrays[key]).any()]:
            sys.exit(f"{name}: the equations differ from Lava in {different}")
    caught: dict[str, list[str]] = {}
    for mutation in MUTATIONS:
        caught[mutation] = [
            name
            for name, arrays in whole.items()
            if any((ours != arrays[key]).any() for key, ours in simulate(arrays, mutation).items())
        ]
    if passed := [mutation for mutation, names in caught.items() if not names]:
        sys.exit(f"no case catches: {', '.join(passed)}")
    files = {name: packed(arrays) for name, arrays in whole.items()}
    CASES.mkdir(parents=True, exist_ok=True)
    for old in CASES.glob("*.npz"):
        old.unlink()
    for name, data in files.items():
        (CASES / f"{name}.npz").write_bytes(data)
    rows = {
        case.name: {
            "tests": case.tests,
            "sha256": sha256(files[case.name]),
            "ticks": len(case.inputs),
            "sequences": case.inputs.shape[1],
            "neurons": case.program.n_neurons,
            "sums_within_16_bits": "sum beyond 16 bits" not in shown[case.name],
            "graded": any(p.graded_bits for p in case.program.populations),
            "shows": shown[case.name],
        }
        for case in every
    }
    content = {"judge": f"lava-nc {version}, fixed_pt", "cases": rows, "caught": caught}
    MANIFEST.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(coverage_table(shown), mutation_table(caught, MUTATIONS), sep="\n\n")
    values = sum(int(np.prod(arrays["s"].shape)) for arrays in whole.values())
    print(f"\n{len(files)} cases, {values:,} neuron-ticks, {sum(map(len, files.values())):,} bytes")


if __name__ == "__main__":
    make()
