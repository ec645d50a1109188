"""Below which share of weights other than 0 the lists of a matrix become sparse, on each chip that comes with muspike.

    python bench/versus/sparse_lists.py > docs/results/logs/sparse-lists.txt

Every source has equally many weights, to targets that all lie on one core. The largest share that is stored sparse is
found by trying every number of weights, for every number of targets from 100 to 1,000.
"""

from __future__ import annotations

import numpy as np

from muspike.hardware.chip import Chip, known_chips, load_chip
from muspike.hardware.mapping.lists import is_cheaper_sparse

TARGETS = range(100, 1001)
SHOWN = (100, 128, 200, 256, 300, 400, 512, 700, 900, 1000)
DELAY = 1


def most_sparse(chip: Chip, targets: int) -> int:
    """The most weights other than 0 of a source, at which its list is still stored sparse; 0: it never is."""
    for stored in range(targets, 0, -1):
        weight = np.zeros((targets, 1), np.int16)
        weight[:stored] = 1
        if is_cheaper_sparse(weight, DELAY, chip, fill=1.0):
            return stored
    return 0


def main() -> None:
    """Print the shares of each chip."""
    print("python bench/versus/sparse_lists.py")
    print("the largest share of weights other than 0 at which a list is stored sparse, by its targets on the core")
    for name in known_chips():
        chip = load_chip(name)
        shares = {targets: most_sparse(chip, targets) / targets for targets in TARGETS}
        print(f"\n{name}, costs {chip.cost_set().name}")
        print("targets" + "".join(f"{targets:>8,}" for targets in SHOWN))
        print("share  " + "".join(f"{shares[targets]:>8.1%}" for targets in SHOWN))
        least, most = min(shares.values()), max(shares.values())
        print(f"from {least:.1%} to {most:.1%} over all numbers of targets from {TARGETS[0]:,} to {TARGETS[-1]:,}")


if __name__ == "__main__":
    main()
