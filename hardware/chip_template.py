"""A documented TOML file to change into a chip, or a price list, of one's own.

It is the file of one that comes with muspike, with every key explained.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from muspike.errors import BadInput
from muspike.hardware import price_list
from muspike.hardware.chip import EVENTS, STEP_FLOORS, known_chips, text_of_known
from muspike.hardware.constant import TAGS
from muspike.hardware.price_list import OPERATIONS, known_price_lists

_CHIP = """\
# A chip for muspike: what it can hold, and what its events cost.
#
# Change what differs on your chip, and give it a name of its own. Then use the file wherever a command takes a chip:
#   muspike map network.nir --chip FILE.toml
#
"""
_PRICE_LIST = """\
# A price list for muspike: what single operations cost on a machine onto which muspike maps no network.
#
# Change what differs on your machine, and give it a name of its own. Then use the file where a command prices:
#   muspike compare s-rnn --on FILE.toml
#
"""
_CONSTANTS = f"""\
# Every number names its source by a key of [sources]. A remark may follow the key after a colon and a space. A changed
# number needs a source of its own: muspike warns of a number that differs from the one which its source gave.
#
# A price or a time has these keys:
#   value   the number
#   low     the low end of the band in which the true number lies; 0 <= low <= value <= high
#   high    the high end of the band
#   band    "unknown" in place of low and high, if no spread is published
#   unit    pJ for energies, ns for times, mW for static power
#   tag     how the number came to be, from strong to weak: {", ".join(TAGS)}
#   source  where it comes from
"""

_SECTIONS = {
    "sources": "Where the numbers come from: a short key, and the source in words.",
    "mesh": "The grid of tiles on which the cores sit.",
    "limits": (
        "What a core or the chip holds: whole numbers of at least 1 (graded_spike_bits: 0). Where sources disagree, "
        'value is the smallest of their numbers, and high the largest. "unpublished" stands for a limit that the maker '
        "does not tell; nothing checks it then."
    ),
    "ranges": (
        "The integers that a register holds: low, low + step, ... up to high. The step is 1 if it is left out. The "
        "registers of a program bound these ranges; the ranges of the state (a_in, current, membrane) are fixed."
    ),
    "synapse_format": (
        "How the list of synapses of an input axon lies in memory. A list is cut into blocks. A block of n synapses "
        "takes n * (weight_bits + delay_bits + index_bits) + block_header_bits bits, rounded up to whole words. "
        "delay_bits is what the list's largest delay needs; index_bits is 0 for a dense list."
    ),
    "static_power": "The power that a whole chip takes even if nothing happens.",
    "costs": "The prices, in one or more sets. Numbers of two sets are never mixed.",
    "costs.*": "A set of prices. Its name is the last part of the heading.",
    "costs.*.energy": (
        "The energy of each event, in pJ. An event that is neither here nor in covers has no price, which does not "
        "mean that it is free."
    ),
    "costs.*.latency": (
        f"The time of each event, in ns, and the least time of a tick: {', '.join(STEP_FLOORS)}. Tables called "
        "[[costs.SET.barrier]] may follow, with the time to synchronise tiles."
    ),
    "energy": "The energy of each operation, in pJ.",
    "citations": (
        "BibTeX for the sources, for muspike compare --cite: an entry, which begins with an @, or the key of one that "
        "muspike knows. This table may be left out."
    ),
    "costs.*.barrier": (
        "The time to synchronise the tiles in use at the end of a tick, in ns, by rising number of tiles, from 1. "
        "Leave these tables out if the time is in step_floor."
    ),
}

_KEYS = {
    "name": "The name that results and programs tell: letters, digits, dots, hyphens and underscores.",
    "title": "The name for people.",
    "precision": "The numbers that the machine computes with, in words.",
    "boundary": "What the prices contain and what they leave out, in words.",
    "energy.all_in": (
        "true: the prices contain everything that happens on the machine, idle power included. Operations without a "
        "price are then covered; else they are unpriced, which does not mean that they are free."
    ),
    "mesh.tiles_x": "Tiles from east to west.",
    "mesh.tiles_y": "Tiles from north to south.",
    "mesh.cores_per_tile": "Cores on a tile. Messages between them cross no link.",
    "limits.cores_per_chip": "Cores on a chip, at most all of the mesh. A larger network takes more chips.",
    "limits.neurons_per_core": "Neurons on a core.",
    "limits.input_axons_per_core": "Axons that lead onto a core.",
    "limits.output_axons_per_core": "Axons that lead from the neurons of a core.",
    "limits.synaptic_memory_bits_per_core": "Bits that the lists of synapses take on a core.",
    "limits.threshold_configurations_per_core": "Distinct thresholds on a core.",
    "limits.compartment_configurations_per_core": "Distinct pairs of decays (du, dv) on a core.",
    "limits.synaptic_delay": "Ticks of delay that a synapse may add to the one tick that every synapse takes.",
    "limits.graded_spike_bits": "Bits of the value that a spike may carry; 0 if it carries none.",
    "ranges.weight": "Synaptic weights.",
    "ranges.du": "Decay of the current, in 4096ths of it per tick, less one.",
    "ranges.dv": "Decay of the membrane, in 4096ths of it per tick.",
    "ranges.v_threshold": "Threshold, in units of 64 of the membrane.",
    "ranges.bias_mant": "Bias: its mantissa.",
    "ranges.bias_exp": "Bias: its exponent, to the base 2.",
    "ranges.a_in": "The sum of the weights that arrive in a tick.",
    "ranges.current": "The current u.",
    "ranges.membrane": "The membrane v.",
    "synapse_format.word_bits": "Bits of a word of memory.",
    "synapse_format.weight_bits": "Bits of a weight.",
    "synapse_format.max_delay_bits": "The largest delay_bits.",
    "synapse_format.sparse_index_bits": (
        "The possible index_bits of a sparse list, rising. The smallest that reaches the targets is taken."
    ),
    "synapse_format.block_synapses": "The most synapses in a block.",
    "synapse_format.block_header_bits": "Bits of a block besides its synapses; may be 0.",
    "synapse_format.axon_offsets": (
        "An axon that shares a list with others adds an offset of its own to the targets: fewer than this."
    ),
    "synapse_format.convolution": (
        '"lists": the pixels of a convolution share a list for each set of taps that lands on the core; "kernel": a '
        "core holds the kernel alone, without target indices."
    ),
    "synapse_format.kernel_weight_bits": "Bits of a weight of a convolution that is stored as its kernel.",
    "costs.default": "The set that is used unless another is asked for.",
    "costs.*.description": "What the set is, in words.",
    "costs.*.core_time": (
        '"sum": a core does its synapses and its neurons one after another; "max": it does both at the same time.'
    ),
    "costs.*.covers": (
        f"Events whose energy is contained in the prices of other events. The events are {', '.join(EVENTS)} and "
        "barrier, the synchronisation at the end of a tick."
    ),
    "costs.*.at_step_floor": (
        "A note for people, with its source: what is known to be wrong with these costs where a network on one chip "
        "waits for step_floor. Results of such a network carry it as a warning. This key may be left out."
    ),
    "costs.*.barrier.tiles": "The number of tiles in use.",
    **{
        name: f"{what[0].upper()}{what[1:]}."
        for name, what in [*EVENTS.items(), *STEP_FLOORS.items(), *OPERATIONS.items()]
    },
}


def chip_template(name: str) -> str:
    """The text of a TOML file that `load_chip` or `load_price_list` loads: the known one under the name `my-NAME`.

    Raises:
        BadInput: there is neither a chip nor a price list of this name.
    """
    if name in known_chips():
        head, text = _CHIP, text_of_known(name)
    elif name in known_price_lists():
        head, text = _PRICE_LIST, price_list.text_of_known(name)
    else:
        raise BadInput(f"chip {name!r} is not known; known: {', '.join([*known_chips(), *known_price_lists()])}")
    return "\n".join([head + _CONSTANTS, *_explained(text, name)]) + "\n"


def _explained(text: str, name: str) -> Iterator[str]:
    """The lines of a chip's file, with a comment above each heading and key that was not explained before."""
    section, told = "", set()
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        heading = re.fullmatch(r"\[+([\w.]+)\]+", line)
        key = re.match(r"(\w+) = ", line)
        if heading:
            section = re.sub(r"^costs\.\w+", "costs.*", heading[1])
        place = section if heading else f"{section}.{key[1]}".lstrip(".") if key else ""
        if key and key[1] in _KEYS:  # an event, in whatever set and table
            place = key[1]
        explained = (_SECTIONS if heading else _KEYS).get(place)
        if explained and place not in told:
            told.add(place)
            yield from _comment(explained)
        yield f'name = "my-{name}"' if place == "name" else line


def _comment(text: str) -> Iterator[str]:
    line = "#"
    for word in text.split():
        if len(line) + 1 + len(word) > 120:
            yield line
            line = "#"
        line += f" {word}"
    yield line
