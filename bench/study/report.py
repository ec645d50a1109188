"""The report of a study: the content of `analysis.analyse` as tables and sentences, for the terminal and the page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from muspike.bench.study.analysis import ALL, ALL_ITEMS
from muspike.tables import Table, several

_FAMILIES = {
    "sources": "each source against the human one",
    "sources_by_group": "each source against the human one, by group",
    "groups": "difference of groups in how far all other sources are from the human one",
    "items": "all other sources against the human one, by item",
}
MOST_ALIGNED = 15
"""Correlations in the table of each group: those with the smallest p."""
MOST_CARRIERS = 8
MOST_FREEDOM = 1000
"""Degrees of freedom that are printed as a number."""


@dataclass(frozen=True)
class Section:
    """A part of the report.

    Attributes:
        id: an anchor.
        title: for people.
        planned: whether the plan has this analysis; None: it is none, or the study has nothing for it.
        told: sentences above the tables.
        tables: for people.
        notes: sentences below, which say how it was made and what its limits are.
    """

    id: str
    title: str
    planned: bool | None
    told: Sequence[str]
    tables: Sequence[Table]
    notes: Sequence[str] = ()


def sections(result: Mapping[str, Any], differences: Sequence[str]) -> list[Section]:
    """The parts of the report, in order.

    Args:
        result: what `analysis.analyse` returns.
        differences: from the plan, in sentences.
    """
    planned = {of["id"]: of["planned"] for of in result["plan"]["analyses"]}
    made = [
        _listeners(result, differences),
        _means(result, planned),
        _comparisons(result, planned),
        _models(result, planned),
        _turing(result, planned),
        _pairs(result, planned),
        _polarisation(result, planned),
        _reliability(result, planned),
        _alignment(result, planned),
        _predictor(result, planned),
        _reasons(result, planned),
        _everyone(result),
    ]
    return [section for section in made if section is not None]


def tables(result: Mapping[str, Any], differences: Sequence[str]) -> list[Table]:
    """All tables, one after another, for text."""
    return [table for section in sections(result, differences) for table in section.tables]


def sentences(result: Mapping[str, Any], differences: Sequence[str]) -> list[str]:
    """What stands beside the tables, for text: what was found, and what could not be computed and why."""
    return [line for section in sections(result, differences) for line in section.told]


# --- cells ------------------------------------------------------------------------------------------------------------


def estimate(of: Mapping[str, Any] | None, digits: int = 2, factor: float = 1.0) -> str:
    """An estimate with its interval."""
    if of is None or of.get("value") is None or not math.isfinite(of["value"]):
        return "–"
    value = f"{factor * of['value']:.{digits}f}"
    if not math.isfinite(of.get("low", math.nan)):
        return f"{value} (no interval)"
    return f"{value} [{factor * of['low']:.{digits}f}, {factor * of['high']:.{digits}f}]"


def share(of: Mapping[str, Any] | None) -> str:
    """A share in per cent with its interval."""
    return estimate(of, 1, 100.0)


def probability(p: float | None) -> str:
    """A p value."""
    if p is None or not math.isfinite(p):
        return "–"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _missing(of: Any) -> str | None:
    return of["missing"] if isinstance(of, Mapping) and set(of) == {"missing"} else None


def _names(result: Mapping[str, Any]) -> dict[str, str]:
    return {ALL: "All groups", **result["study"]["groups"]}


def _comparison(family: str, name: str, names: Mapping[str, str]) -> str:
    """The name of a comparison, with the names of groups and items for people."""
    if family == "groups":
        return " – ".join(names[group] for group in name.split(" – "))
    if family == "sources_by_group":
        group, _, sources = name.partition(": ")
        return f"{names[group]}: {sources}"
    return item_name(name) if family == "items" else name


def _freedom(df: float) -> str:
    """Degrees of freedom. So many that t is a normal distribution are not told from each other."""
    return f"{df:.0f}" if df <= MOST_FREEDOM else f"> {MOST_FREEDOM:,}"


def item_name(id: str) -> str:
    """An item's id as words."""
    return id.replace("_", " ")


# --- sections ---------------------------------------------------------------------------------------------------------


def _listeners(result: Mapping[str, Any], differences: Sequence[str]) -> Section:
    people, names = result["listeners"], _names(result)
    reasons = list(dict.fromkeys(reason for of in people.values() for reason in of["left_out"]))
    rows = [
        [
            names[group],
            str(of["came"]),
            str(of["stopped"]),
            *(str(of["left_out"].get(reason, 0)) for reason in reasons),
            str(of["used"]),
            "–" if of["wanted"] is None else str(of["wanted"]),
        ]
        for group, of in people.items()
    ]
    titles = ["group", "came", "stopped\nearly", *(reason.replace(" ", "\n", 1) for reason in reasons)]
    told = []
    empty = [names[group] for group, of in people.items() if not of["used"]]
    if empty:
        told.append(f"Nothing can be said of {', '.join(empty)}: nobody of this group is in the analysis.")
    digest = result.get("plan_sha256")
    plan = f"the plan, whose SHA-256 is {digest}" if digest else "the plan"
    if differences:
        told.append(f"{several(len(differences), 'difference')} from {plan}: {' '.join(differences)}")
    else:
        told.append(f"Nothing differs from {plan}.")
    table = Table("listeners by group", [*titles, "in the\nanalysis", "planned"], rows)
    return Section("listeners", "Who listened", None, told, [table])


def _means(result: Mapping[str, Any], planned: Mapping[str, bool]) -> Section:
    study, names, means = result["study"], _names(result), result["means"]
    sources, primary = study["sources"], study["primary"]
    made = []
    for item in dict.fromkeys([primary, ALL_ITEMS, *means]):
        of = means.get(item, {})
        if not of:
            continue
        rows = [[names[group], *(estimate(of[group].get(source)) for source in sources)] for group in of]
        statement = study["items"].get(item, "the mean of all items of an answer").rstrip(".")
        made.append(
            Table(f"{item_name(item)}, mean rating from 1 to {study['points']}: {statement}", ["group", *sources], rows)
        )
    told = [] if made else ["There are no ratings."]
    level = f"{100 * result['plan']['level']:g} %"
    notes = [
        f"In brackets: intervals at {level}, over listeners and pieces at once, which hold for other listeners of the "
        "group and other pieces of the source. In the row of all groups each group counts alike.",
    ]
    if study["reversed"]:
        notes.append(f"Turned round, so that more is better: {', '.join(map(item_name, study['reversed']))}.")
    return Section("means", "Ratings", planned.get("means"), told, made, notes)


def _comparisons(result: Mapping[str, Any], planned: Mapping[str, bool]) -> Section:
    return Section(
        "comparisons",
        "Comparisons",
        planned.get("comparisons"),
        _told_of_comparisons(result),
        _family_tables(result["comparisons"], result["study"]["primary"], _names(result)),
        [
            "Logits are distances on the latent scale of the mixed model: 0 is none, and the odds of a higher rating "
            "change by e to that power. Points are distances of mean ratings. p is corrected within its table by "
            "Holm's method.",
        ],
    )


def _told_of_comparisons(result: Mapping[str, Any]) -> list[str]:
    alpha, told = result["plan"]["alpha"], []
    why = _missing(result["models"].get(result["study"]["primary"]))
    if why:
        return [f"The item {result['study']['primary']} has no model, so there are no comparisons of it: {why}."]
    rows = result["comparisons"]["sources"]
    if not rows:
        return ["There is no source beside the human one, or no group heard both: nothing can be compared."]
    for row in rows:
        value = row["logits"]["value"]
        if row["p_holm"] < alpha:
            told.append(
                f"{row['name']}: rated {'higher' if value > 0 else 'lower'} ({estimate(row.get('points'))} points)."
            )
        else:
            told.append(f"{row['name']}: no difference was found ({estimate(row.get('points'))} points).")
    return told


def _family_tables(families: Mapping[str, Any], primary: str, names: Mapping[str, str]) -> list[Table]:
    made = []
    for family, rows in families.items():
        if not rows:
            continue
        points = any("points" in row for row in rows)
        titles = ["comparison", "logits", *(["points"] if points else []), "degrees of\nfreedom", "p", "p, Holm"]
        cells = [
            [
                _comparison(family, row["name"], names),
                estimate(row["logits"]),
                *([estimate(row.get("points"))] if points else []),
                _freedom(row["df"]),
                probability(row["p"]),
                probability(row["p_holm"]),
            ]
            for row in rows
        ]
        what = "" if family == "items" else f", item {item_name(primary)}"
        made.append(Table(f"{_FAMILIES[family]}{what}", titles, cells))
    return made


def _models(result: Mapping[str, Any], planned: Mapping[str, bool]) -> Section:
    rows, told = [], []
    terms: list[str] = []
    for item, of in result["models"].items():
        if why := _missing(of):
            told.append(f"{item_name(item)}: no model; {why}.")
        else:
            terms = list(dict.fromkeys([*terms, *of["sds"]]))
    for item, of in result["models"].items():
        if _missing(of):
            continue
        tests = {test["name"]: test for test in of["tests"]}
        cells = [item_name(item)]
        for name in ("source", "group", "source x group"):
            test = tests.get(name)
            cells.append("–" if test is None else f"F({test['numerator']}, {_freedom(test['df'])}) = {test['f']:.2f}")
            cells.append("–" if test is None else probability(test["p"]))
        # The latent noise of an answer has the variance pi^2 / 3.
        total = math.pi**2 / 3 + sum(sd**2 for sd in of["sds"].values())
        sds = [of["sds"].get(term) for term in terms]
        cells += ["–" if sd is None else f"{sd:.2f} ({100 * sd**2 / total:.0f} %)" for sd in sds]
        rows.append(cells)
    titles = ["item", "source", "p", "group", "p", "source × group", "p", *(f"sd of\n{term}" for term in terms)]
    made = (
        [Table("the mixed model of each item: tests, and standard deviations in logits", titles, rows)] if rows else []
    )
    notes = [
        "A cumulative logit mixed model, fitted by the Laplace approximation with fixed effects integrated out; "
        "degrees of freedom by Satterthwaite; they are very many where the variances behind a test are estimated as 0. "
        "p is not corrected here. Listener at source: how listeners differ in their liking of a source. In brackets, "
        "the share of the latent variance of an answer: what a power analysis of the next study asks for.",
    ]
    return Section("models", "Mixed models", planned.get("model"), told, made, notes)


def _turing(result: Mapping[str, Any], planned: Mapping[str, bool]) -> Section:
    of, names, study = result["turing"], _names(result), result["study"]
    if why := _missing(of):
        return Section("turing", "Turing test", None, [f"Not computed: {why}."], [])
    told, made = _turing_tables(of, names, study)
    notes = [
        "Of each source, the share of answers that a human composed the piece. The share of right answers counts human "
        "pieces and others alike; chance is 50 %. d' says how well human pieces are told from others (0: not at all), "
        "and the criterion how far a group leans to the answer that a machine composed it (above 0).",
        "The reverse Turing bias: human pieces are recognised as such less often than by chance, which is 50 %. "
        "It is decided by p, which is corrected over the groups; the intervals are of each group alone.",
    ]
    return Section("turing", "Turing test", planned.get("turing"), told, made, notes)


def _turing_tables(
    of: Mapping[str, Any], names: Mapping[str, str], study: Mapping[str, Any]
) -> tuple[list[str], list[Table]]:
    sources = study["sources"]
    told, shares, detection = [], [], []
    for group, found in of.items():
        if why := _missing(found):
            told.append(f"{names[group]}: not computed; {why}.")
            continue
        human = share(found["said_human"].get(study["human"]))
        told.append(f"{names[group]} recognise {human} % of the human pieces. Reverse Turing bias: {found['reverse']}.")
        recognised = probability(found["said_human"][study["human"]]["p_holm"])
        shares.append([names[group], *(share(found["said_human"].get(source)) for source in sources), recognised])
        detection.append(
            [
                names[group],
                str(found["answers"]),
                share(found["accuracy"]),
                estimate(found["d_prime"]),
                probability(found["d_prime"].get("p_holm")),
                estimate(found["criterion"]),
                probability(found["criterion"].get("p_holm")),
            ]
        )
    made = []
    if shares:
        columns = ["group", *sources, "p of human\npieces, Holm"]
        made.append(Table("pieces taken for human ones, in per cent of answers", columns, shares))
        titles = ["group", "answers", "right, %", "d'", "p, Holm", "criterion", "p, Holm"]
        made.append(Table("telling human pieces from others", titles, detection))
    return told, made


def _pairs(result: Mapping[str, Any], planned: Mapping[str, bool]) -> Section:
    of, names = result["pairs"], _names(result)
    if why := _missing(of):
        return Section("pairs", "Pairs", None, [f"Not computed: {why}."], [])
    told, rows = [], []
    for group, found in of["groups"].items():
        if why := _missing(found):
            told.append(f"{names[group]}: not computed; {why}.")
        else:
            p = probability(found["accuracy"]["p_holm"])
            rows.append([names[group], str(found["answers"]), share(found["accuracy"]), p, f"{found['d_prime']:.2f}"])
    titles = ["group", "answers", "right, %", "p, Holm", "d'"]
    made = [Table("pairs in which the human piece was chosen, in per cent", titles, rows)] if rows else []
    if why := _missing(of["bins"]):
        told.append(f"Accuracy by similarity: not computed; {why}.")
    else:
        cells = [
            [f"{row['from']:.2f} to {row['to']:.2f}", str(row["answers"]), share(row["accuracy"])] for row in of["bins"]
        ]
        made.append(Table("the same by how alike the two pieces are", ["similarity", "answers", "right, %"], cells))
    if why := _missing(of["slope"]):
        told.append(f"Change with similarity: not computed; {why}.")
    else:
        told.append(
            f"Per 0.1 of similarity the logit of a right answer changes by {estimate(of['slope'])}, "
            f"p = {probability(of['slope']['p'])}."
        )
    told.append(f"The first of the two was chosen in {share(of['first'])} % of the pairs.")
    return Section("pairs", "Pairs", planned.get("pairs"), told, made)


def _polarisation(result: Mapping[str, Any], planned: Mapping[str, bool]) -> Section:
    of, names = result["polarisation"], _names(result)
    told, rows = [], []
    for group, found in of["groups"].items():
        if why := _missing(found):
            told.append(f"{names[group]}: not computed; {why}.")
            continue
        shown = [f"{found[name]:.2f}" if math.isfinite(found[name]) else "–" for name in ("bimodality", "two_peaks")]
        rows.append([names[group], estimate(found["variance"], 3), *shown])
    made = []
    if rows:
        titles = ["group", "variance", "bimodality", "share with\ntwo peaks"]
        made.append(Table("how much listeners differ about a piece, over all items", titles, rows))
    if of["differences"]:
        cells = [
            [_comparison("groups", row["name"], names), estimate(row, 3), *map(probability, (row["p"], row["p_holm"]))]
            for row in of["differences"]
        ]
        made.append(
            Table("how far two groups differ in that variance", ["groups", "difference", "p", "p, Holm"], cells)
        )
    notes = [
        "Variance: of the ratings of one piece within a group, as a share of the largest that the scale allows (0: all "
        "agree; 1: one half at each end). Bimodality: Sarle's coefficient; above 0.56 a distribution has two peaks "
        "rather than one. Listeners who use the scale in different ways differ too, and near an end of the scale there "
        "is less room to differ: look at the means of two groups before their variances are compared."
    ]
    return Section("polarisation", "Polarisation", planned.get("polarisation"), told, made, notes)


def _reliability(result: Mapping[str, Any], planned: Mapping[str, bool]) -> Section:
    of, names = result["reliability"], _names(result)
    told, rows = [], []
    for group, found in of["cronbach"].items():
        if why := _missing(found):
            told.append(f"Cronbach's alpha, {names[group]}: not computed; {why}.")
        else:
            rows.append([names[group], estimate(found)])
    made = []
    if rows:
        made.append(Table("Cronbach's alpha: how far the items measure the same", ["group", "alpha"], rows))
    groups = list(of["cronbach"])
    cells = []
    for item, by_group in of["krippendorff"].items():
        found_any = [group for group in groups if _missing(by_group[group]) is None]
        if found_any:
            cells.append([item_name(item), *("–" if _missing(by_group[g]) else estimate(by_group[g]) for g in groups)])
        else:
            told.append(f"Krippendorff's alpha, {item_name(item)}: not computed; {_missing(by_group[groups[0]])}.")
    if cells:
        titles = ["item", *(names[group] for group in groups)]
        made.append(Table("Krippendorff's alpha, ordinal: how far listeners agree", titles, cells))
    if why := _missing(of["retest"]):
        told.append(f"Test-retest: not computed; {why}.")
    else:
        lines = [
            [item_name(item), str(row["pairs"]), share(row["equal"]), share(row["within_1"]), estimate(row["kappa"])]
            for item, row in of["retest"].items()
            if _missing(row) is None
        ]
        titles = ["item", "ratings", "equal, %", "within 1 point, %", "weighted kappa"]
        made.append(Table("the same piece heard twice", titles, lines))
    notes = [
        "Intervals by bootstrap: of listeners for Cronbach's alpha and repeats, of pieces for Krippendorff's alpha. "
        "Cronbach's alpha above 0.7 is usual for one scale, and above 0.95 items repeat one another. Krippendorff's "
        "alpha is 1 if all agree and 0 if they agree as by chance; of taste it is low.",
    ]
    return Section("reliability", "Reliability", planned.get("reliability"), told, made, notes)


def _alignment(result: Mapping[str, Any], planned: Mapping[str, bool]) -> Section:
    of, names = result["alignment"], _names(result)
    if why := _missing(of):
        return Section("alignment", "Do metrics predict listeners?", None, [f"Not computed: {why}."], [])
    told, made = [], []
    for group, found in of.items():
        if why := _missing(found):
            told.append(f"{names[group]}: not computed; {why}.")
            continue
        rows = sorted(found["rows"], key=lambda row: (math.isnan(row["p"]), row["p"]))[:MOST_ALIGNED]
        told.append(
            f"{names[group]}: {found['significant']} of {len(found['rows'])} correlations are significant after the "
            f"correction, over {several(found['pieces'], 'piece')}; within sources {found['significant_within']} are."
        )
        cells = [
            [
                row["metric"],
                item_name(row["item"]),
                estimate({"value": row["rho"], "low": row["low"], "high": row["high"]}),
                probability(row["p_bh"]),
                "–" if math.isnan(row["within_sources"]) else f"{row['within_sources']:.2f}",
                probability(row["p_within_bh"]),
            ]
            for row in rows
        ]
        titles = ["metric", "item", "rank correlation", "p", "within\nsources", "p within\nsources"]
        caption = (
            f"{names[group]}: the {len(rows)} correlations of a metric with an item that are least likely by chance"
        )
        made.append(Table(caption, titles, cells, left=(0, 1)))
    notes = [
        "Spearman's rank correlation of a piece's metric with its mean rating, over pieces, with bootstrap intervals "
        "over pieces and p by permutation of the pieces. Within sources: of what is left when the mean of each source "
        "is taken off both. A correlation that is gone there tells sources apart, and not pieces. Both p are corrected "
        "within the group, over all metrics and items, by Benjamini and Hochberg's method.",
    ]
    left_out = {
        name: why for of_group in of.values() if not _missing(of_group) for name, why in of_group["left_out"].items()
    }
    if left_out:
        notes.append(f"Left out: {'; '.join(f'{name} ({why})' for name, why in left_out.items())}.")
    return Section("alignment", "Do metrics predict listeners?", planned.get("alignment"), told, made, notes)


def _predictor(result: Mapping[str, Any], planned: Mapping[str, bool]) -> Section:
    of, names, primary = result["predictor"], _names(result), item_name(result["study"]["primary"])
    title = "Ratings from metrics, and a new metric"
    if why := _missing(of):
        return Section("predictor", title, None, [f"Not computed: {why}."], [])
    told, rows = [], []
    for group, found in of.items():
        if why := _missing(found):
            told.append(f"{names[group]}: not computed; {why}.")
            continue
        for name, words in (("ridge", "all metrics"), ("formula", "the formula")):
            value = found[name]
            by_source = value["r2_by_source"]
            rows.append(
                [
                    f"{names[group]}, {words}",
                    f"{value['r2']:.2f}",
                    f"{value['chance']:.2f}",
                    probability(value["p"]),
                    probability(value["p_within"]),
                    "–" if math.isnan(by_source) else f"{by_source:.2f}",
                    "–" if math.isnan(value["spearman"]) else f"{value['spearman']:.2f}",
                ]
            )
        told += _told_of_formula(names[group], found)
    titles = [
        "prediction",
        "R² on unseen\npieces",
        f"R² by chance,\n{100 * (1 - result['plan']['alpha']):g} % point",
        "p",
        "p within\nsources",
        "R² on unseen\nsources",
        "rank\ncorrelation",
    ]
    made = (
        [Table(f"mean ratings of the item {primary}, predicted from objective metrics", titles, rows)] if rows else []
    )
    for group, found in of.items():
        if not _missing(found) and found["ridge"]["beats"]:
            cells = [[row["metric"], f"{row['loss']:.3f}"] for row in found["importance"][:MOST_CARRIERS]]
            caption = f"{names[group]}: which metrics carry the prediction: loss of R² when a metric is shuffled"
            made.append(Table(caption, ["metric", "loss of R²"], cells))
    notes = [
        "R² on pieces that were not used to fit: 0 is what the mean predicts, and less is worse than the mean. All "
        "choices are made anew in each fold. Chance: the same procedure on ratings that were shuffled over the pieces. "
        "Unseen sources: the pieces of each source are predicted from the others, which takes three sources or more. "
        "p within sources: on ratings that were shuffled within their source; above "
        f"{result['plan']['alpha']:g}, metrics may tell sources apart and not pieces. No p is corrected for the number "
        "of groups. The listeners are those of this study: none were left out.",
    ]
    return Section("predictor", title, planned.get("predictor"), told, made, notes)


def _told_of_formula(group: str, found: Mapping[str, Any]) -> list[str]:
    value = found["formula"]
    if value["beats"]:
        told = [f"{group}, new metric (R² {value['r2']:.2f} on unseen pieces): {found['terms']['written']}"]
        if not value["beats_within"] and math.isfinite(value["p_within"]):
            told.append(
                f"{group}: the new metric may tell sources apart and not pieces. It predicts ratings that were "
                f"shuffled within their source as well (p = {probability(value['p_within'])})."
            )
        return told
    return [
        f"{group}: no new metric. The best formula of {several(len(found['terms']['terms']), 'metric')} does not beat "
        f"chance on unseen pieces (R² {value['r2']:.2f}, p = {probability(value['p'])}). It "
        f"would be {found['terms']['written']}, and should not be used."
    ]


def _reasons(result: Mapping[str, Any], planned: Mapping[str, bool]) -> Section:
    of = result["reasons"]
    if why := _missing(of):
        return Section("reasons", "Reasons", None, [f"None: {why}."], [])
    rows = [
        [row["text"], str(row["times"]), str(row["said_human"]), str(row["times"] - row["said_human"])]
        for row in of["rows"][: of["shown"]]
    ]
    told = [f"{several(of['answers'], 'answer')} with a reason, {of['different']} different ones; --json has all."]
    titles = ["reason, as written", "times", "with the answer\nhuman", "with the answer\nmachine"]
    made = [Table("the most frequent reasons of Turing answers", titles, rows)]
    return Section("reasons", "Reasons", planned.get("reasons"), told, made)


def _everyone(result: Mapping[str, Any]) -> Section:
    of, names, study = result["everyone"], _names(result), result["study"]
    title = "With everybody"
    if _missing(of):
        return Section("everyone", title, None, ["Nobody was left out, so there is nothing to compare."], [])
    sources, primary = study["sources"], study["primary"]
    means = of["means"].get(primary, {})
    rows = [[names[group], *(estimate(means[group].get(source)) for source in sources)] for group in means]
    made = (
        [Table(f"{item_name(primary)} with those who were left out, mean rating", ["group", *sources], rows)]
        if rows
        else []
    )
    made += _family_tables({"sources": of["comparisons"]["sources"]}, primary, names)
    if not _missing(of["turing"]):
        made += _turing_tables(of["turing"], names, study)[1]
    changed = _changed(result, of)
    told = ["The main results again, if nobody is left out.", changed]
    return Section("everyone", title, None, told, made)


def _changed(result: Mapping[str, Any], everyone: Mapping[str, Any]) -> str:
    alpha = result["plan"]["alpha"]
    before = {row["name"]: row["p_holm"] < alpha for row in result["comparisons"]["sources"]}
    after = {row["name"]: row["p_holm"] < alpha for row in everyone["comparisons"]["sources"]}
    names = [name for name in before if before[name] != after.get(name, before[name])]
    return f"This changes the verdict on {', '.join(names)}." if names else "No verdict on a source changes."
