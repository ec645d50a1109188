"""The twins: for each spiking architecture, a network of the same size in plain torch that does not spike.

A twin reads the same tokens and gives the same kind of logits, so the difference in quality is the price of spiking:

    words -> sum of seven embeddings -> trunk -> Linear -> logits

A trunk takes tokens and its memory of earlier tokens. So one method serves training (many tokens at once, from rest)
and composing (token by token). Dropout silences a unit for a whole piece, as in the spiking networks (Gal & Ghahramani
2016, arXiv 1512.05287).
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from muspike import sounding
from muspike.errors import BadInput
from muspike.host import SILENT, Noise, Timing, input_axons
from muspike.labels import Labels
from muspike.network import Generator, completed, read_axons
from muspike.ranges import between, check, setting
from muspike.sounding import Hearing
from muspike.tokens import N_AXONS

# A trunk's memory of the tokens so far: a tensor or a pair of tensors per layer. An empty list means rest.
Past = list[Any]


@dataclass(frozen=True)
class Recurrent:
    """Settings of the twins of S-RNN and S-LSTM.

    Attributes:
        width: units per layer.
        layers: number of layers.
        hears: groups of axons for what sounds that the network hears beside the words (`sounding.GROUPS`).
        labels: labels of a piece that the network hears, values by name (`labels.Labels`). Training takes the values
            from its corpus.
    """

    width: int = setting(512, between(1, 8192))
    layers: int = setting(2, between(1, 64))
    hears: tuple[str, ...] = ()
    labels: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check(self, "twin")


@dataclass(frozen=True)
class Adversarial:
    """Settings of the twin of S-GAN.

    Attributes:
        width: units per layer.
        layers: number of layers.
        noise_draws: noise axons that are on with each token, one out of each group.
        noise_values: axons in a group.
        hears: groups of axons for what sounds that the network hears beside the words (`sounding.GROUPS`).
        labels: labels of a piece that the network hears, values by name (`labels.Labels`). Training takes the values
            from its corpus.
    """

    width: int = setting(512, between(1, 8192))
    layers: int = setting(2, between(1, 64))
    noise_draws: int = setting(4, between(1, 64))
    noise_values: int = setting(16, between(1, 8192))
    hears: tuple[str, ...] = ()
    labels: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check(self, "twin")


@dataclass(frozen=True)
class Convolutional:
    """Settings of the twin of S-CNN.

    Attributes:
        width: units per layer.
        layers: number of layers, at most 16.
        kernel: tokens that a layer reads. In layer k (from 0) they are 2^k tokens apart.
        hears: groups of axons for what sounds that the network hears beside the words (`sounding.GROUPS`).
        labels: labels of a piece that the network hears, values by name (`labels.Labels`). Training takes the values
            from its corpus.
    """

    width: int = setting(192, between(1, 8192))
    layers: int = setting(7, between(1, 64))
    kernel: int = setting(3, between(1, 8192))
    hears: tuple[str, ...] = ()
    labels: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check(self, "twin")
        if self.layers > 16:
            raise BadInput(f"twin: {self.layers} layers reach 2^{self.layers} tokens back; at most 16")


@dataclass(frozen=True)
class Attending:
    """Settings of the twin of S-Transformer.

    Attributes:
        width: units per token, a multiple of twice the number of heads.
        layers: number of layers, each an attention and an MLP.
        heads: attention heads.
        hidden: units in the middle of an MLP.
        window: tokens that a token attends to, itself included. If training excerpts are at least this long, the
            network knows every distance that occurs in a longer piece.
        hears: groups of axons for what sounds that the network hears beside the words (`sounding.GROUPS`).
        labels: labels of a piece that the network hears, values by name (`labels.Labels`). Training takes the values
            from its corpus.
    """

    width: int = setting(160, between(1, 8192))
    layers: int = setting(4, between(1, 64))
    heads: int = setting(4, between(1, 8192))
    hidden: int = setting(640, between(1, 8192))
    window: int = setting(256, between(1, 8192))
    hears: tuple[str, ...] = ()
    labels: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check(self, "twin")
        if self.width % (2 * self.heads):
            raise BadInput(f"twin: width {self.width} must be a multiple of 2 x {self.heads} heads")


Config = Recurrent | Adversarial | Convolutional | Attending


def _refuse_to_record(names: Iterable[str]) -> None:
    if joined := ", ".join(names):
        raise BadInput(f"record {joined}: a network that does not spike has no spikes to record")


class Twin(Generator):
    """A generator that does not spike. A subclass defines the trunk."""

    def __init__(self, config: Config, noise: Noise = SILENT) -> None:
        super().__init__()
        self.noise, self.hearing, self.labels = noise, Hearing(config.hears), Labels.of(config.labels)
        width = config.width
        self.embedding = nn.EmbeddingBag(input_axons(noise, self.hearing, self.labels), width, mode="sum")
        nn.init.normal_(self.embedding.weight, std=1 / math.sqrt(len(noise.offsets)))  # so that the sum has spread 1
        self.head = nn.Linear(width, N_AXONS)
        self.register_buffer("bias", torch.zeros(N_AXONS), persistent=False)  # the host adds nothing
        self.register_buffer("_offsets", torch.as_tensor(noise.offsets, dtype=torch.int64), persistent=False)

    timing = Timing(1, 1)
    """A word goes in once and gives its logits at once."""

    @abstractmethod
    def trunk(self, x: torch.Tensor, past: Past, dropout: float) -> tuple[torch.Tensor, Past]:
        """Transform `x` `[tokens, batch, width]`, and return it with the memory after it.

        If `past` is not empty, `x` holds one token.
        """

    def forward(
        self,
        words: torch.Tensor,
        record: Iterable[str] = (),
        regularise: dict[str, torch.Tensor] | None = None,
        dropout: float = 0.0,
        heard: sounding.State | None = None,
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Logits `[tokens, batch, N_AXONS]` of `words` `[tokens, batch, 7]`. The network starts at rest.

        In training, a share `dropout` of the units between layers is silent in each piece, for all its tokens.
        `regularise` is ignored, because a twin has no firing rates. `heard` is what has sounded before the words; None:
        nothing.

        Raises:
            BadInput: `record` names a population; a twin has no spikes to record.
        """
        _refuse_to_record(record)
        state = sounding.silence(words.shape[1]) if heard is None else heard.copy()
        x, _ = self.trunk(self.embedded(words, state), [], dropout)
        return self.head(x), {}

    def embedded(self, words: torch.Tensor, heard: sounding.State) -> torch.Tensor:
        """The sum of the embeddings of a token's axons, `[tokens, batch, width]`, of words with 7 columns or more.

        `heard` is what has sounded before the words; it is brought up to date.
        """
        offsets = self.get_buffer("_offsets")
        axons = read_axons(completed(words, self, self.training), self, offsets, heard).flatten(0, 1)
        more = axons[:, len(offsets) :]  # those that may be none
        summed: torch.Tensor = self.embedding(axons[:, : len(offsets)])
        if more.shape[1]:
            rows = (more.clamp(min=0), self.embedding.weight)
            is_spike = (more >= 0).to(self.embedding.weight.dtype)
            summed = summed + functional.embedding_bag(*rows, mode="sum", per_sample_weights=is_spike)
        return summed.view(*words.shape[:2], -1)

    def dropped(self, x: torch.Tensor, share: float) -> torch.Tensor:
        """Silence a `share` of the units in training.

        The units of `x` `[tokens, batch, width]` are drawn for each piece of the batch and are silent for all its
        tokens.
        """
        if not (share and self.training):
            return x
        kept = torch.rand(x.shape[1:], device=x.device) >= share
        return x * (kept / (1 - share))

    def runner(self) -> TwinRunner:
        """A runner that computes this network token by token."""
        return TwinRunner(self)


class TwinRunner:
    """A twin as a runner: it takes one token, gives the logits, and keeps the trunk's memory."""

    def __init__(self, twin: Twin) -> None:
        self.twin, self.noise, self.labels = twin, twin.noise, twin.labels
        self.reset(1)

    def reset(self, batch: int) -> None:
        """Bring the network to rest."""
        self.past: Past = []
        self.heard = sounding.silence(batch)

    @torch.no_grad()
    def step(
        self, words: np.ndarray[tuple[int, int], np.dtype[np.int16]]
    ) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
        """Logits `[batch, N_AXONS]` for the token after `words` `[batch, 7 + labels + draws]`."""
        twin = self.twin
        token = torch.as_tensor(np.asarray(words), device=twin.head.weight.device)[None]
        x, self.past = twin.trunk(twin.embedded(token, self.heard), self.past, 0.0)
        logits: np.ndarray[tuple[int, int], np.dtype[np.float32]] = twin.head(x)[0].cpu().numpy()
        return logits


class RNN(Twin):
    """Elman's network: recurrent tanh layers with residuals, each after a layer norm (as in `Transformer`)."""

    layer: type[nn.RNN | nn.LSTM] = nn.RNN

    def __init__(self, config: Recurrent | Adversarial, noise: Noise = SILENT) -> None:
        super().__init__(config, noise)
        self.layers = nn.ModuleList(self.layer(config.width, config.width) for _ in range(config.layers))
        self.norms = nn.ModuleList(nn.LayerNorm(config.width) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)

    def trunk(self, x: torch.Tensor, past: Past, dropout: float) -> tuple[torch.Tensor, Past]:
        """See `Twin.trunk`. The memory is each layer's state after the last token."""
        after: Past = []
        x = self.dropped(x, dropout)
        for layer, norm, before in zip(self.layers, self.norms, past or [None] * len(self.layers), strict=True):
            more, state = layer(norm(x), before)
            x = x + self.dropped(more, dropout)
            after.append(state)
        return self.norm(x), after


class LSTM(RNN):
    """Long short-term memory (Hochreiter & Schmidhuber 1997). Its forget gates start open (Gers et al. 2000)."""

    layer = nn.LSTM

    def __init__(self, config: Recurrent) -> None:
        super().__init__(config)
        for name, bias in self.layers.named_parameters():
            if name.endswith("bias_ih_l0"):
                nn.init.ones_(bias[config.width : 2 * config.width])  # gates i, f, g, o


class GAN(RNN):
    """The generator of an adversarial pair: Elman's network, with noise beside each token."""

    def __init__(self, config: Adversarial) -> None:
        super().__init__(config, Noise(config.noise_draws, config.noise_values))


class CNN(Twin):
    """Causal dilated convolutions over tokens with residuals (WaveNet, van den Oord et al. 2016, arXiv 1609.03499)."""

    def __init__(self, config: Convolutional) -> None:
        super().__init__(config)
        self.layers = nn.ModuleList(_Convolution(config.width, config.kernel, 2**k) for k in range(config.layers))
        self.norm = nn.LayerNorm(config.width)

    def trunk(self, x: torch.Tensor, past: Past, dropout: float) -> tuple[torch.Tensor, Past]:
        """See `Twin.trunk`. The memory is each layer's last inputs, `[(kernel - 1) * dilation, batch, width]`."""
        after: Past = []
        x = self.dropped(x, dropout)
        for layer, before in zip(self.layers, past or [None] * len(self.layers), strict=True):
            more, before = layer(x, before)
            x = x + self.dropped(more, dropout)
            after.append(before)
        return self.norm(x), after


class _Convolution(nn.Module):
    def __init__(self, width: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.delays = [dilation * tap for tap in reversed(range(kernel))]
        self.norm = nn.LayerNorm(width)
        self.taps = nn.Linear(kernel * width, width)
        self.out = nn.Linear(width, width)

    def forward(self, x: torch.Tensor, before: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        """The result `[tokens, batch, width]`, and the inputs that the next token still needs."""
        tokens, reach = x.shape[0], self.delays[0]
        x = self.norm(x)
        x = torch.cat([x.new_zeros(reach, *x.shape[1:]) if before is None else before, x])
        seen = torch.cat([x[reach - delay : reach - delay + tokens] for delay in self.delays], -1)
        return self.out(functional.gelu(self.taps(seen))), x[tokens:]


class Transformer(Twin):
    """Causal softmax attention with layer norms before it and rotary positions.

    The layer norms are placed as in Xiong et al. 2020; the positions are those of Su et al., arXiv 2104.09864.
    """

    def __init__(self, config: Attending) -> None:
        super().__init__(config)
        self.window = config.window
        self.attentions = nn.ModuleList(_Attention(config) for _ in range(config.layers))
        self.mlps = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(config.width),
                nn.Linear(config.width, config.hidden),
                nn.GELU(),
                nn.Linear(config.hidden, config.width),
            )
            for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(config.width)

    def trunk(self, x: torch.Tensor, past: Past, dropout: float) -> tuple[torch.Tensor, Past]:
        """See `Twin.trunk`. The memory is each layer's keys and values of the last tokens, fewer than `window`."""
        after: Past = []
        x = self.dropped(x, dropout)
        for attention, mlp, before in zip(self.attentions, self.mlps, past or [None] * len(self.mlps), strict=True):
            more, before = attention(x, before)
            x = x + self.dropped(more, dropout)
            x = x + self.dropped(mlp(x), dropout)
            after.append(before)
        return self.norm(x), after


KeysValues = tuple[torch.Tensor, torch.Tensor]


class _Attention(nn.Module):
    def __init__(self, config: Attending) -> None:
        super().__init__()
        self.heads, self.window = config.heads, config.window
        self.norm = nn.LayerNorm(config.width)
        self.qkv = nn.Linear(config.width, 3 * config.width, bias=False)
        self.out = nn.Linear(config.width, config.width, bias=False)

    def forward(self, x: torch.Tensor, before: KeysValues | None) -> tuple[torch.Tensor, KeysValues]:
        """Return the result `[tokens, batch, width]` and what later tokens need.

        Later tokens need the keys (not yet rotated) and values of the last `window` - 1 tokens.
        """
        tokens, batch, width = x.shape
        # [tokens, batch, 3, heads, size] -> three of [batch, heads, tokens, size]
        q, k, v = self.qkv(self.norm(x)).view(tokens, batch, 3, self.heads, -1).permute(2, 1, 3, 0, 4)
        if before is not None:
            k, v = torch.cat([before[0], k], 2), torch.cat([before[1], v], 2)
        seen = k.shape[2]
        # Only distances count, so the oldest key at hand gets position 0.
        position = torch.arange(seen, device=x.device)
        distance = position[seen - tokens :, None] - position
        mask = (distance >= 0) & (distance < self.window)
        # Without a mask, torch can choose an algorithm that never stores the scores.
        plain = before is None and tokens <= self.window
        answer = functional.scaled_dot_product_attention(
            _turned(q, position[seen - tokens :]),
            _turned(k, position),
            v,
            attn_mask=None if plain else mask,
            is_causal=plain,
        )
        keep = max(0, seen - self.window + 1)
        return self.out(answer.permute(2, 0, 1, 3).reshape(tokens, batch, width)), (k[:, :, keep:], v[:, :, keep:])


def _turned(x: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
    """`x` `[batch, heads, tokens, size]` with its pairs of units rotated by angles in proportion to the position."""
    half = x.shape[-1] // 2
    angle = position[:, None] * 10000.0 ** (-torch.arange(half, device=x.device) / half)  # [tokens, size / 2]
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)
