"""Price the operations of a network with a price list: what it would take on a machine onto which it is not mapped.

    energy = operations x price, for each operation that the list prices

The operations are those of the deployed integer network (`operations`), so relays and zero weights are left
out. A price list has no latency, so there is no static energy; a list that is `all_in` contains it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from muspike.errors import BadInput
from muspike.hardware.cost.operations import Operations
from muspike.hardware.cost.quantity import Quantity
from muspike.hardware.price_list import OPERATIONS, PriceList


@dataclass(frozen=True)
class OperationRow:
    """An operation and what it costs.

    Attributes:
        name: a key of `price_list.OPERATIONS`.
        count: how often it was done.
        energy: in pJ; None unless `status` is `priced`.
        status: `priced`; `covered`: contained in the prices of other operations; `unpriced`: no price is published.
        source: where the price comes from; None without a price.
    """

    name: str
    count: int
    energy: Quantity | None
    status: Literal["priced", "covered", "unpriced"]
    source: str | None


@dataclass(frozen=True)
class OperationEnergy:
    """The cost of a run by a price list.

    Attributes:
        prices: the price list.
        rows: the operations that were done.
        total: the sum of the priced ones, in pJ.
    """

    prices: PriceList
    rows: tuple[OperationRow, ...]
    total: Quantity

    def to_dict(self, shares: int, per: str) -> dict[str, Any]:
        """The cost as a JSON-able dict, each figure divided by `shares` and named by `per`, such as "note"."""
        return {
            "machine": self.prices.name,
            "title": self.prices.title,
            "precision": self.prices.precision,
            "boundary": self.prices.boundary,
            f"energy_uj_per_{per}": self.total.to_dict("uJ", shares),
            "operations": [
                {
                    "name": row.name,
                    "status": row.status,
                    f"count_per_{per}": row.count / shares,
                    f"energy_uj_per_{per}": row.energy and row.energy.to_dict("uJ", shares),
                    "source": row.source,
                }
                for row in self.rows
            ],
        }


def price_spikes(operations: Operations, prices: PriceList) -> OperationEnergy:
    """Price a network that spikes.

    Args:
        operations: what it computes in the run.
        prices: the price list.

    Raises:
        BadInput: the list prices no network that spikes, or the network has operations of graded spikes and the list
            neither prices nor covers them.
    """
    if not prices.prices_spikes:
        raise BadInput(f"{prices.name}: has no price of a synop; it prices networks that do not spike")
    if operations.effective_macs and "synop_graded" not in prices.energy and not prices.all_in:
        raise BadInput(f"{prices.name}: has no price of a synop_graded, of which the run has some")
    counts = {
        "synop": operations.effective_acs,
        "synop_graded": operations.effective_macs,
        "neuron_update": operations.neuron_updates,
    }
    return _priced({name: count for name, count in counts.items() if count or name != "synop_graded"}, prices)


def price_macs(macs: int, prices: PriceList) -> OperationEnergy:
    """Price a network that does not spike, by its multiplications with an accumulation.

    Raises:
        BadInput: the list has no price of a mac.
    """
    if not prices.prices_dense:
        raise BadInput(f"{prices.name}: has no price of a mac; it prices networks that spike")
    return _priced({"mac": macs}, prices)


def _priced(counts: Mapping[str, int], prices: PriceList) -> OperationEnergy:
    assert set(counts) <= set(OPERATIONS)
    rows = tuple(_row(name, count, prices) for name, count in counts.items())
    first, *rest = (row.energy for row in rows if row.energy is not None)
    return OperationEnergy(prices, rows, sum(rest, start=first))


def _row(name: str, count: int, prices: PriceList) -> OperationRow:
    price = prices.energy.get(name)
    if price is None:
        return OperationRow(name, count, None, "covered" if prices.all_in else "unpriced", None)
    return OperationRow(name, count, Quantity.of(price) * count, "priced", price.source)
