"""What is exported: a trained model, a NIR graph, or the integers of a chip; and what it is tried on.

Every target takes a `Subject`. It asks the subject for what it can hold: the network in floats, or a chip's program.
"""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeAlias

import nir
import numpy as np

from muspike.architectures.ann import Twin
from muspike.arguments import refuse
from muspike.checkpoint import Model, load_model
from muspike.errors import BadInput
from muspike.export.loihi import compile_model
from muspike.export.presentation import Presentation
from muspike.export.recording import Spikes
from muspike.export.to_nir_file import to_nir
from muspike.export.words import drawn_words, example_words
from muspike.hardware.chip import Chip
from muspike.hardware.graph import SpikingGraph
from muspike.hardware.mapping.compile import Compiled, compile_graph
from muspike.hardware.program import Program
from muspike.hardware.reader.file import read_nir
from muspike.hardware.reader.from_nir import from_nir
from muspike.hardware.reader.net import read_net
from muspike.tokens import Words

# Of a network that does not read words: the chance that an axon spikes in a tick, for each sequence of the batch.
RATES = (0.02, 0.1, 0.3, 0.6)
MOST_GRADED = 15  # the largest value of a graded spike, so that no sum leaves its 16 bits by that alone
TICKS_PER_WORD = 4  # a network that does not read words is tried on so many ticks instead of a word


Given: TypeAlias = Model | nir.NIRGraph | SpikingGraph | Program


class Stimulus(NamedTuple):
    """What a network is tried on.

    Attributes:
        spikes: of all inputs side by side, uint8 `[ticks, batch, size]`.
        words: the words that the spikes present, `[words, batch, 7 + draws]`; None: the network does not read words.
    """

    spikes: Spikes
    words: Words | None = None


@dataclass(frozen=True, eq=False)
class Subject:
    """A network to export, in the one form in which it was given.

    Attributes:
        name: what it is called in errors: the name of a model, or the path of a file.
        given: the model, the NIR graph, the graph of a lava-dl network (`read_net`), or the program.
        dt_s: seconds per tick of a NIR graph that does not say it.
    """

    name: str
    given: Given
    dt_s: float | None = None

    @classmethod
    def of(cls, what: Subject | Given | str | os.PathLike[str], dt_s: float | None = None) -> Subject:
        """The subject of a model, a graph or a program; or of the name of a model or its folder, or of a file.

        A file is a NIR graph (`.nir`), a network of lava-dl (`.net`) or a program (`.npz`). `dt_s` are the seconds per
        tick of a file that does not say them.

        Raises:
            BadInput: there is no such model or file, or it cannot be read.
        """
        if isinstance(what, Subject):
            return what
        if isinstance(what, Model):
            return cls(what.architecture, what)
        if isinstance(what, nir.NIRGraph):
            return cls("graph", what)
        if isinstance(what, SpikingGraph):
            return cls("graph", what)
        if isinstance(what, Program):
            return cls("program", what)
        if not isinstance(what, str | os.PathLike):
            raise refuse("export: model", what, "a Model, a NIRGraph, a Program, or the name or path of one")
        name = os.fspath(what)
        suffix = Path(name).suffix
        if suffix == ".net":
            return cls(name, read_net(name, dt_s))
        if suffix == ".nir":
            return cls(name, read_nir(name), dt_s)
        if dt_s is not None:
            raise BadInput(
                f"{name}: says itself how long a tick is; dt (--dt) is for a .nir or .net file that does not"
            )
        return cls(name, Program.load(name) if suffix == ".npz" else load_model(name))

    @property
    def model(self) -> Model | None:
        """The trained model; None: the subject is a file that muspike has not trained."""
        return self.given if isinstance(self.given, Model) else None

    @property
    def twin(self) -> Twin | None:
        """The network of a model that does not spike; None: the subject spikes."""
        network = self.given.network if isinstance(self.given, Model) else None
        return network if isinstance(network, Twin) else None

    def nir_graph(self) -> nir.NIRGraph:
        """The network as a NIR graph, whose metadata says how words go in, if it reads words.

        Raises:
            BadInput: the network does not spike, or the subject holds only the integers of a chip.
        """
        if isinstance(self.given, Model):
            return to_nir(self.given.spiking, {"architecture": self.given.architecture})
        if isinstance(self.given, Program):
            raise BadInput(
                f"{self.name}: holds the integers of {self.given.chip}, and not the network that they were made from; "
                "a chip's program can be exported with --to lava, --to lava-dl or --to onnx --form chip"
            )
        if isinstance(self.given, SpikingGraph):
            raise BadInput(f"{self.name}: is no NIR graph, and a network of lava-dl is not written as one")
        if self.dt_s is not None and "dt" not in self.given.metadata:
            same = self.given
            return nir.NIRGraph(same.nodes, same.edges, metadata={**same.metadata, "dt": self.dt_s}, type_check=False)
        return self.given

    @functools.cached_property
    def graph(self) -> SpikingGraph:
        """The network in floats. Raises BadInput as `nir_graph`."""
        return self.given if isinstance(self.given, SpikingGraph) else from_nir(self.nir_graph(), self.dt_s)

    def compiled(
        self,
        chip: Chip | str | os.PathLike[str],
        must_fit: bool = True,
        *,
        scale: str | None = None,
        reset_every: int | None = None,
        graded: bool = False,
    ) -> Compiled:
        """The network compiled for a chip.

        Args:
            chip: a `Chip`, the name of a known one, or the path of a TOML file.
            must_fit, reset_every, graded: as for `compile_graph`.
            scale: as for `compile_graph`; None: "keep" for a network of lava-dl, whose numbers are a chip's integers
                already, else "auto".

        Raises:
            BadInput: the network does not spike, the chip cannot hold it (limits of cores only with `must_fit`), the
                subject is a program, or another setting than the usual one is given for a model.
        """
        if isinstance(self.given, Model):
            if scale is not None or reset_every is not None or graded:
                raise BadInput(f"{self.name}: a model reads words in one way; scale, reset and graded are for files")
            return compile_model(self.given, chip, must_fit)
        usual = "keep" if isinstance(self.given, SpikingGraph) else "auto"
        return compile_graph(
            self.graph, chip, must_fit=must_fit, scale=scale or usual, reset_every=reset_every, graded=graded
        )

    def program(self, chip: Chip | str | os.PathLike[str]) -> Program:
        """The network as the integers of a chip; a program as it is, whatever `chip`.

        Raises:
            BadInput: the network does not spike, or the chip cannot hold it.
        """
        return self.given if isinstance(self.given, Program) else self.compiled(chip).program

    @property
    def presentation(self) -> Presentation | None:
        """How words go in and logits come out; None: the network does not read words.

        Raises:
            BadInput: the metadata of a graph or program that reads words is wrong.
        """
        if isinstance(self.given, Model):
            return Presentation.of(self.given.network)
        about = self.given.metadata if isinstance(self.given, Program) else self.graph.metadata
        return Presentation.read(about) if Presentation.is_in(about) else None

    def stimulus(self, count: int, batch: int) -> Stimulus:
        """What to try the network on: `count` words, which a model composes itself, or random spikes.

        A graph or program that reads words gets words drawn at random, within the grammar. A network that does not
        read words gets `count * TICKS_PER_WORD` ticks of spikes, at another rate in each sequence (`RATES`).
        """
        presentation = self.presentation
        if presentation is not None:
            model = self.model
            noise, labels = presentation.noise, presentation.labels
            words = drawn_words(noise, labels, count, batch) if model is None else example_words(model, count, batch)
            return Stimulus(presentation.spikes(words), words)
        if isinstance(self.given, Program):
            most = np.repeat([p.largest_spike for p in self.given.inputs], [p.size for p in self.given.inputs])
        else:
            most = np.ones(sum(p.size for p in self.graph.populations if p.kind == "input"), np.int64)
        random = np.random.default_rng(0)
        rates = np.resize(RATES, batch)[None, :, None]
        fired = random.random((count * TICKS_PER_WORD, batch, len(most))) < rates
        if not (most > 1).any():
            return Stimulus(fired.astype(np.uint8))
        values = random.integers(1, np.minimum(most, MOST_GRADED) + 1, fired.shape)
        return Stimulus(np.where(fired, values, 0).astype(np.uint16))
