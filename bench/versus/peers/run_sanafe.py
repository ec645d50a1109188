"""Run a mapped network on forced spikes in SANA-FE, on the Loihi architecture that its package ships.

    python run_sanafe.py NETWORK.npz OUTPUT.json TIMING

NETWORK.npz holds the placement of every neuron, every stored synapse, and which neuron spikes or updates in which tick
(`bench/versus/sanafe.py` writes it). TIMING is `detailed` or `simple`, SANA-FE's models of the mesh.

Spikes are forced: all weights are 0, a neuron that is to spike gets a bias above its threshold for that tick, and a
neuron that is to update without a spike gets SANA-FE's `force_update`. The host's spikes come from neurons of SANA-FE's
`input` model on a core of their own in the tile of their targets, whose messages cost neither energy nor time and cross
no tile. All else is arch/loihi.yaml as it ships.
"""

from __future__ import annotations

import copy
import json
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import sanafe
import yaml

UNITS = ("loihi_dense_synapse", "loihi_sparse_synapse", "loihi_conv_synapse")


def main() -> None:
    network, output, timing = sys.argv[1:]
    with np.load(network) as file:
        given = {name: file[name] for name in file.files}
    Path(output).write_text(json.dumps(run(given, timing)))


def run(given: dict[str, Any], timing: str) -> dict[str, Any]:
    neurons, spikes, active = len(given["neuron_core"]), given["spikes"], given["active"]
    chip = chip_of(given)
    # SANA-FE keeps a neuron's attributes from tick to tick, so only what changes is set.
    mapped = chip.mapped_neuron_groups["neurons"]
    before = np.zeros((2, neurons), bool)
    totals = {"spikes": 0, "packets_sent": 0, "neurons_updated": 0, "neurons_fired": 0, "sim_time": 0.0}
    energy = dict.fromkeys(("total", "synapse", "dendrite", "soma", "network"), 0.0)
    host = hops_x = hops_y = 0
    for tick, (fires, moves) in enumerate(zip(spikes[:, :neurons], active, strict=True)):
        if not tick % 50:
            print(f"sanafe: tick {tick}", file=sys.stderr, flush=True)  # a sign of life
        now = np.array([fires, moves])
        for i in np.flatnonzero((now != before).any(0)):
            mapped[int(i)].set_attributes(
                model_attributes={"bias": 2.0 if fires[i] else 0.0, "force_update": bool(moves[i])}
            )
        before = now
        found = chip.sim(1, timing, message_trace=True)
        for name in totals:
            totals[name] += found[name]
        for name in energy:
            energy[name] += found["energy"][name]
        for message in found["message_trace"][0]:
            if not message["placeholder"]:
                host += message["src_neuron_group_id"] != "neurons"
                hops_x += abs(int(message["src_x"]) - int(message["dest_x"]))
                hops_y += abs(int(message["src_y"]) - int(message["dest_y"]))
    return {
        "sanafe": metadata.version("sanafe"),
        "timing": timing,
        **totals,
        "host_packets": int(host),
        "hops_x": hops_x,
        "hops_y": hops_y,
        "energy": energy,
    }


def chip_of(given: dict[str, Any]) -> Any:
    """SANA-FE's chip, loaded with the network."""
    neuron_core, host_tile = given["neuron_core"], given["host_tile"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "arch.yaml"
        path.write_text(yaml.safe_dump(architecture(int(given["width"]), int(given["height"]), host_tile)))
        arch = sanafe.load_arch(str(path))
    network = sanafe.Network()
    attributes = {"threshold": 1.0, "reset": 0.0, "bias": 0.0, "leak_decay": 1.0}
    group = network.create_neuron_group(
        "neurons", len(neuron_core), attributes, default_dendrite_hw_name="loihi_dendrites", soma_hw_name="loihi_lif"
    )
    for i, core in enumerate(neuron_core):
        group[i].map_to_core(arch.tiles[int(given["tile"][core])].cores[int(given["slot"][core])])
    hosts = []
    for tile in np.unique(host_tile):
        (members,) = np.nonzero(host_tile == tile)
        host = network.create_neuron_group(
            f"host{tile}", len(members), default_dendrite_hw_name="loihi_dendrites", soma_hw_name="host_input[0]"
        )
        for i, member in enumerate(members):
            train = given["spikes"][:, len(neuron_core) + member].tolist()
            host[i].set_attributes(soma_hw_name=f"host_input[{i}]", model_attributes={"spikes": train})
            host[i].map_to_core(arch.tiles[int(tile)].cores[4])
        hosts.append((host, members))
    for kind, unit in enumerate(UNITS):
        (chosen,) = np.nonzero(given["kind"] == kind)
        if not len(chosen):
            continue
        for i in np.unique(given["post"][chosen]):
            group[int(i)].set_attributes(default_synapse_hw_name=unit)
        pre, post = given["pre"][chosen], given["post"][chosen]
        connect(group, group, pre[pre < len(neuron_core)], post[pre < len(neuron_core)])
        for host, members in hosts:
            place = np.full(len(neuron_core) + len(host_tile), -1)
            place[len(neuron_core) + members] = np.arange(len(members))
            here = place[pre] >= 0
            connect(host, group, place[pre[here]], post[here])
    chip = sanafe.SpikingChip(arch)
    chip.load(network)
    return chip


def connect(source: Any, target: Any, pre: Any, post: Any) -> None:
    if len(pre):
        pairs = list(zip(pre.tolist(), post.tolist(), strict=True))
        source.connect_neurons_sparse(target, {"w": [0.0] * len(pairs)}, pairs)


def architecture(width: int, height: int, host_tile: Any) -> dict[str, Any]:
    """SANA-FE's arch/loihi.yaml with the host's cores, and without the input neurons that no core uses."""
    shipped = Path(sanafe.__file__).parent / "examples" / "loihi.yaml"
    described: dict[str, Any] = yaml.safe_load(shipped.read_text())
    chip = described["architecture"]
    chip["attributes"] |= {"width": width, "height": height}
    (tile,) = chip["tile"]
    (core,) = tile["core"]
    (free,) = [soma for soma in core["soma"] if soma["attributes"]["model"] == "input"]
    core["soma"].remove(free)
    tiles = []
    for number in range(width * height):
        made = copy.deepcopy(tile) | {"name": f"loihi_tile[{number}]"}
        if inputs := int((np.asarray(host_tile) == number).sum()):
            host = copy.deepcopy(core) | {"name": "host_core[0]"}
            host["attributes"]["max_neurons_supported"] = max(1024, inputs)
            host["soma"] = [copy.deepcopy(free) | {"name": f"host_input[0..{inputs - 1}]"}]
            (out,) = host["axon_out"]
            out["attributes"] = dict.fromkeys(out["attributes"], 0.0)
            made["core"].append(host)
        tiles.append(made)
    chip["tile"] = tiles
    return described


if __name__ == "__main__":
    main()
