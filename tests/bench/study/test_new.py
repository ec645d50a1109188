"""`muspike study new`: a whole study from two folders, the plan that it keeps to, and what it refuses."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from muspike import midi, tokens
from muspike.bench.study import analysis_plan, plan, questionnaire, screening, sound
from muspike.bench.study import study as studies
from muspike.bench.study.excerpts import ANYWHERE, Length
from muspike.bench.study.new import Made, Settings, new_study
from muspike.bench.study.plan import Facts
from muspike.bench.study.study import ATTENTION, BOTH, PAIR, PAIRS, RATING, REPEAT
from muspike.cli import main
from muspike.errors import BadInput, Failed
from small_study import small_study
from stored_corpus import write_folder, write_midi

soundfile = pytest.importorskip("soundfile", reason="the extra audio is not installed")
pytest.importorskip("pyloudnorm", reason="the extra study is not installed")

WORDS = Length(40)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("sources")
    write_folder(folder / "composed-by-bach", range(8))
    write_folder(folder / "made-by-net", range(100, 108))
    return {"net": str(folder / "made-by-net"), "human": str(folder / "composed-by-bach")}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, sources: dict[str, str]) -> tuple[Path, Made]:
    folder = tmp_path_factory.mktemp("studies") / "study"
    settings = Settings(excerpts=4, turing=BOTH, pairs=2, repeats=2, ask_why=True, seed=5)
    return folder, new_study(folder, sources, settings, length=WORDS, listeners={"expert": 26})


def test_a_study_is_complete(made: tuple[Path, Made]) -> None:
    folder, found = made
    study = studies.read(folder)
    assert study == found.study
    assert study.human == "human" and study.sources == ("human", "net")
    assert Counter(one.source for one in study.stimuli) == {"human": 6, "net": 6}
    assert {path.name for path in folder.iterdir()} == {
        *("study.json", "plan.json", "plan.md", "pieces", "audio", "checks"),
        *("questionnaire.toml", "questionnaire.de.toml", "questionnaire.zh.toml"),
    }
    assert questionnaire.translations(folder / studies.QUESTIONNAIRE) == questionnaire.translations()
    assert screening.read(folder).tests
    assert study.targets["expert"] == 26 and study.targets["normal"] == found.power.wanted
    for trials in study.lists:
        kinds = Counter(trial.kind for trial in trials)
        assert kinds == {RATING: 8, ATTENTION: 2, REPEAT: 2, PAIR: 2}


def test_every_excerpt_is_equally_long_and_equally_loud(made: tuple[Path, Made], sources: dict[str, str]) -> None:
    folder, found = made
    levels = []
    for one in found.study.stimuli:
        piece, heard = folder / "pieces" / f"{one.id}.mid", folder / "audio" / f"{one.id}.mp3"
        wave, rate = soundfile.read(heard)
        levels.append(sound.loudness_lufs(wave, rate))
        assert len(wave) / rate == pytest.approx(one.seconds, abs=0.1)
        assert one.words == 40
        origin = tokens.encode(midi.read(Path(sources[one.source]) / one.origin), [])
        assert np.array_equal(midi.read(piece).notes, tokens.decode(origin[:40]).notes)
        assert one.midi_sha256 == hashlib.sha256(piece.read_bytes()).hexdigest()
        assert one.audio_sha256 == hashlib.sha256(heard.read_bytes()).hexdigest()
    assert max(levels) - min(levels) < sound.WITHIN_LU
    assert np.abs(np.array(levels) - found.loudness_lufs).max() < sound.WITHIN_LU


def test_nothing_that_listeners_get_tells_the_source(made: tuple[Path, Made]) -> None:
    folder, found = made
    ids = [one.id for one in found.study.stimuli]
    assert ids == sorted(ids)
    for path in [*(folder / "audio").iterdir(), *(folder / "pieces").iterdir(), *(folder / "checks").glob("*.mp3")]:
        content = path.read_bytes().lower()
        for word in (b"human", b"net", b"bach", *(one.origin.encode() for one in found.study.stimuli)):
            assert word not in content or word == b"net", path  # three letters come by chance in 100 kB
        assert path.suffix != ".mid" or b"net" not in content


def test_no_excerpt_is_in_a_pair_and_rated(made: tuple[Path, Made]) -> None:
    study = made[1].study
    source = {one.id: one.source for one in study.stimuli}
    rated = {trial.stimuli[0] for trials in study.lists for trial in trials if trial.kind == RATING}
    paired = [trial for trials in study.lists for trial in trials if trial.kind == PAIR]
    assert not rated & {id for trial in paired for id in trial.stimuli}
    for trial in paired:
        assert {source[id] for id in trial.stimuli} == {"human", "net"}
        assert trial.similarity is not None and 0 < trial.similarity < 1


def test_the_same_seed_makes_the_same_study_and_another_one_another(
    sources: dict[str, str], tmp_path: Path, made: tuple[Path, Made]
) -> None:
    settings = Settings(excerpts=4, turing=BOTH, pairs=2, repeats=2, ask_why=True, seed=5)
    again = new_study(tmp_path / "again", sources, settings, length=WORDS, listeners={"expert": 26})
    assert again.study == made[1].study
    names = {path.relative_to(tmp_path / "again") for path in (tmp_path / "again").rglob("*") if path.is_file()}
    for name in names - {Path("plan.json"), Path("plan.md")}:  # they say when they were made
        assert (tmp_path / "again" / name).read_bytes() == (made[0] / name).read_bytes(), name


FACTS = Facts({"expert": 26}, {})


def facts_of(folder: Path) -> Facts:
    content = plan.read(folder)
    return Facts(content["listeners"], content["analysis"]["exclusions"], content["analysis"])


def test_nothing_differs_from_the_plan_where_nothing_was_changed(made: tuple[Path, Made]) -> None:
    folder, found = made
    assert plan.differences(folder, facts_of(folder)) == []
    content = plan.read(folder)
    assert content["analysis"] == analysis_plan.of_kind(found.study)
    assert content["design"]["sequences"] == len(found.study.lists)
    assert content["power"]["wanted_per_group"] == found.power.wanted
    assert found.plan_sha256 == hashlib.sha256((folder / "plan.json").read_bytes()).hexdigest()


@pytest.fixture
def copy(made: tuple[Path, Made], tmp_path: Path) -> Path:
    folder = tmp_path / "copy"
    subprocess.run(["cp", "-r", str(made[0]), str(folder)], check=True)
    return folder


def append(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes() + b"\n")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (append("questionnaire.toml"), "questionnaire.toml was changed"),
        (append("questionnaire.de.toml"), "questionnaire.de.toml was changed"),
        (append("study.json"), "study.json was changed"),
        (append("checks/screening.json"), "checks/screening.json was changed"),
        (
            lambda folder: append(next((folder / "audio").iterdir()).relative_to(folder).as_posix())(folder),
            "mp3 was changed",
        ),
        (lambda folder: next((folder / "pieces").iterdir()).unlink(), "mid is gone"),
        (lambda folder: (folder / "questionnaire.fr.toml").write_text(""), "questionnaire.fr.toml was added"),
        (lambda folder: (folder / "plan.json").unlink(), "There is no plan.json"),
    ],
)
def test_a_changed_file_differs_from_the_plan(copy: Path, change: Callable[[Path], Any], told: str) -> None:
    facts = facts_of(copy)
    change(copy)
    (found,) = plan.differences(copy, facts)
    assert told in found and found.endswith((".", "..."))


def test_another_number_of_listeners_and_other_rules_differ_from_the_plan(made: tuple[Path, Made]) -> None:
    folder, _ = made
    facts = facts_of(folder)
    analysis = json.loads(json.dumps(facts.analysis))
    analysis["alpha"] = 0.01
    analysis["more"] = True
    del analysis["level"]
    groups = {**facts.groups, "expert": 20, "others": 3}
    found = plan.differences(folder, Facts(groups, {**facts.exclusions, "attention_missed_share": 0.9}, analysis))
    assert found == [
        "Group expert has 20 listeners in the analysis; 26 were planned.",
        "Group others was not planned.",
        "The analysis has exclusions.attention_missed_share = 0.9; 0.5 was planned.",
        "The analysis leaves out level, which was planned (0.95).",
        "The analysis has alpha = 0.01; 0.05 was planned.",
        "The analysis has more (true), which was not planned.",
    ]


def test_families_and_items_that_this_version_cannot_follow_differ_from_the_plan(copy: Path) -> None:
    facts = facts_of(copy)
    content = plan.read(copy)
    families = content["analysis"]["families"]
    families[0]["about"] = "another one"
    families.append({"id": "more", "about": "all the rest"})
    content["analysis"]["primary"] = "melody"
    (copy / "plan.json").write_text(json.dumps(content))
    choices = analysis_plan.of_items(analysis_plan.of_study(content["analysis"], "plan.json"), ["harmony", "overall"])
    followed = analysis_plan.followed(choices, studies.read(copy))
    found = plan.differences(copy, Facts(facts.groups, facts.exclusions, followed))
    assert found == [
        'The analysis has primary = "overall"; "melody" was planned.',
        'The analysis has families.sources.about = "each source against the human one, in the primary item, all groups '
        'counting ...; "another one" was planned.',
        'The analysis leaves out families.more, which was planned ({"about": "all the rest"}).',
    ]


def test_another_version_of_muspike_differs_from_the_plan(copy: Path) -> None:
    facts = facts_of(copy)
    content = json.loads((copy / "plan.json").read_text())
    (copy / "plan.json").write_text(json.dumps({**content, "muspike": "0.0.9"}))
    (found,) = plan.differences(copy, facts)
    assert "the plan is of muspike 0.0.9" in found


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 1, "files": {}}', "\xff"])
def test_a_damaged_plan_is_refused(copy: Path, text: str) -> None:
    (copy / "plan.json").write_text(text, encoding="latin-1")
    with pytest.raises(BadInput, match=r"plan\.json"):
        plan.differences(copy, FACTS)


def test_an_entry_of_another_kind_damages_a_plan(copy: Path) -> None:
    content = json.loads((copy / "plan.json").read_text())
    for part, value in (("files", 5), ("listeners", "x")):
        (copy / "plan.json").write_text(json.dumps(content | {part: dict.fromkeys(content[part], value)}))
        with pytest.raises(BadInput, match=rf"plan\.json: {part}: .* which is damaged"):
            plan.differences(copy, FACTS)


def test_a_study_without_a_plan_says_so(tmp_path: Path) -> None:
    small_study(tmp_path)
    assert "no plan.json" in plan.differences(tmp_path, FACTS)[0]


@pytest.mark.parametrize(
    ("turing", "why", "planned"),
    [
        ("single", False, {"turing"}),
        ("single", True, {"turing", "reasons"}),
        ("pairs", True, {"pairs", "reasons"}),
        ("both", False, {"turing", "pairs"}),
        ("none", True, set()),
    ],
)
def test_a_plan_has_no_analysis_of_what_is_not_asked(tmp_path: Path, turing: Any, why: bool, planned: set[str]) -> None:
    choices = analysis_plan.of_kind(small_study(tmp_path, excerpts=2, turing=turing, ask_why=why))
    optional = {"turing", "pairs", "reasons"}
    assert {of["id"] for of in choices["analyses"]} & optional == planned
    families = {of["id"] for of in choices["families"]}
    assert families & {"turing", "recognised"} == ({"turing", "recognised"} if "turing" in planned else set())
    assert families & {"pairs"} == planned & {"pairs"}
    assert len(choices["analyses"]) == len(analysis_plan.load()["analyses"]) - len(optional - planned)


def test_the_plan_for_people_names_all_that_matters(made: tuple[Path, Made]) -> None:
    folder, found = made
    text = (folder / "plan.md").read_text()
    assert found.plan_sha256 in text
    for item in questionnaire.load().items:
        assert item.statement in text
    for sentence in analysis_plan.sentences(analysis_plan.of_kind(found.study)):
        assert sentence in text
    assert "- headphones are checked: yes" in text and "True" not in text and "False" not in text
    for one in found.study.stimuli:
        assert one.audio_sha256 in text
    assert "expert: profession is student or professional or years_of_lessons at least 10; 26 listeners wanted" in text


# --- the command ------------------------------------------------------------------------------------------------------


def command(folder: Path, sources: dict[str, str], *more: str) -> list[str]:
    pieces = ",".join(f"{name}={place}" for name, place in sources.items())
    return ["study", "new", str(folder), "--pieces", pieces, "--words", "40", "--excerpts", "2", *more]


def test_the_command_says_what_it_made(
    tmp_path: Path, sources: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "study"
    assert main(command(folder, sources, "--languages", "de,en", "--title", "Hören", "--no-headphones")) == 0
    said = capsys.readouterr().out
    assert "a listener: 2 of each source rated, 5 pages in all; 4 orders" in said
    assert f"next: muspike study serve {folder}" in said
    assert hashlib.sha256((folder / "plan.json").read_bytes()).hexdigest() in said
    study = studies.read(folder)
    assert study.languages == ("de", "en") and study.title == "Hören" and not study.screening
    assert not (folder / "questionnaire.zh.toml").exists()
    asked = questionnaire.translations(folder / studies.QUESTIONNAIRE)
    assert {form.title for form in asked.values()} == {"Hören"} and set(asked) == {"en", "de"}
    german = tmp_path / "german"
    assert main(command(german, sources, "--languages", "de,en", "--no-headphones")) == 0
    assert studies.read(german).title == questionnaire.translations()["de"].title


def test_the_command_says_it_as_json(
    tmp_path: Path, sources: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        main(command(tmp_path / "s", sources, "--json", "--human", "net", "--from", "anywhere", "--turing", "none"))
        == 0
    )
    found = json.loads(capsys.readouterr().out)
    assert found["human"] == "net" and found["sources"] == {"net": 2, "human": 2}
    assert found["listeners"] == dict.fromkeys(("expert", "amateur", "normal"), found["power"]["wanted_per_group"])
    assert all(trial.kind != PAIR for trials in studies.read(tmp_path / "s").lists for trial in trials)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--words", "400"], "0 usable excerpts of 400 words from 8 pieces, expected 2"),
        (["--bars", "3"], "not allowed with argument"),
        (["--excerpts", "64"], "more pieces, or fewer --excerpts"),
        (["--per-listener", "3"], "--per-listener 3: expected at most the 2 of --excerpts"),
        (["--attention", "2"], "2 attention checks among 4 rated excerpts, expected at most 1"),
        (["--repeats", "3"], "3 repeats of 4 rated excerpts, expected at most 2"),
        (["--human", "bach"], "--human bach: is none of the sources, which are net, human"),
        (["--languages", "en,fr"], "--languages fr: the questionnaire is in en, de, zh alone"),
        (["--listeners", "experts=5"], "group experts is not known; known are expert, amateur, normal"),
        (["--listeners", "expert"], "must be"),
        (["--pairs", "3"], "--pairs is not used with --turing single"),
        (["--turing", "none", "--why"], "--why is not used with --turing none"),
        (["--turing", "none", "--accuracy", "0.7"], "--accuracy is not used with --turing none"),
        (["--turing", "pairs", "--pairs", "7"], "expected 9"),
        (["--questionnaire", "none.toml"], "none.toml: cannot be read"),
        (["--effect", "0.001"], "--effect 0.001: 10,000 listeners in a group do not find it"),
        (["--alpha", "0"], "--alpha"),
        (["--title", "two\nlines"], "--title: 'two\\nlines' must be one line of text"),
        (["--title", "\udcff"], "must be one line of text"),
    ],
)
def test_what_is_wrong_is_one_line_with_status_2_and_nothing_is_left(
    tmp_path: Path, sources: dict[str, str], capsys: pytest.CaptureFixture[str], more: list[str], told: str
) -> None:
    folder = tmp_path / "study"
    assert main(command(folder, sources, *more)) == 2
    said = capsys.readouterr()
    assert told in said.err and said.err.count("\n") == 1 and said.out == ""
    assert not folder.exists()


def test_a_source_without_midi_and_one_that_is_not_there_are_refused(
    tmp_path: Path, sources: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    for place, told in ((tmp_path / "empty", "holds no MIDI files"), (tmp_path / "none", "no such folder")):
        assert main(command(tmp_path / "study", {**sources, "net": str(place)})) == 2
        said = capsys.readouterr().err
        assert told in said and str(place) in said and said.count("\n") == 1
        assert not (tmp_path / "study").exists()


def test_a_source_of_shorter_pieces_is_named_with_the_length_that_would_do(
    tmp_path: Path, sources: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(3):
        write_midi(tmp_path / "short" / f"{number}.mid", number, notes=12)
    assert main(command(tmp_path / "study", {**sources, "net": str(tmp_path / "short")})) == 2
    said = capsys.readouterr().err
    words = re.search(r"net \(.*\): 0 usable excerpts .* from 3 pieces, .* with --words (\d+) it has them", said)
    assert words, said
    again = command(tmp_path / "study", {**sources, "net": str(tmp_path / "short")}, "--words", words[1])
    assert main([*again, "--no-headphones"]) == 0


def test_a_questionnaire_with_an_id_twice_is_refused(
    tmp_path: Path, sources: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    text = questionnaire.path_of("muspike").read_text().replace('id = "melody"', 'id = "rhythm"')
    (tmp_path / "own.toml").write_text(text)
    assert main(command(tmp_path / "study", sources, "--questionnaire", str(tmp_path / "own.toml"))) == 2
    assert "own.toml: item 'rhythm' is there twice" in capsys.readouterr().err
    assert not (tmp_path / "study").exists()


def test_a_folder_that_holds_something_is_left_alone(
    tmp_path: Path, sources: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    small_study(tmp_path / "study")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("mine")
    for name, told in (
        ("study", "holds a study already"),
        ("other", "holds thesis.txt; expected a new or empty folder"),
    ):
        before = sorted((tmp_path / name).rglob("*"))
        assert main(command(tmp_path / name, sources)) == 2
        assert told in capsys.readouterr().err
        assert sorted((tmp_path / name).rglob("*")) == before


def test_an_error_at_any_moment_leaves_nothing(
    tmp_path: Path, sources: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(excerpts=2)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    for place, name in ((sound, "mp3"), (screening, "make"), (plan, "write")):
        with monkeypatch.context() as patch:
            patch.setattr(place, name, full)
            with pytest.raises(Failed, match="study: the study cannot be written: No space"):
                new_study(tmp_path / "study", sources, settings, length=WORDS)
        assert not (tmp_path / "study").exists()


def test_what_a_killed_command_left_is_cleared_away(tmp_path: Path, sources: dict[str, str]) -> None:
    (tmp_path / "study" / ".new-abc" / "audio").mkdir(parents=True)
    made = new_study(tmp_path / "study", sources, Settings(excerpts=2), length=Length(None, 2), begin=ANYWHERE)
    assert studies.read(tmp_path / "study") == made.study
    assert not list((tmp_path / "study").glob(".*"))


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")
def test_a_command_that_is_ended_leaves_nothing(tmp_path: Path, sources: dict[str, str]) -> None:
    folder = tmp_path / "study"
    run = subprocess.Popen(
        [sys.executable, "-m", "muspike", *command(folder, sources, "--excerpts", "8")],
        stderr=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    until = time.monotonic() + 120
    while not list(folder.glob(".new-*")) and run.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    run.send_signal(signal.SIGTERM)
    _, said = run.communicate(timeout=60)
    assert run.returncode == 143 and b"Traceback" not in said
    assert not folder.exists()


def test_pairs_alone_need_pieces_for_themselves(tmp_path: Path, sources: dict[str, str]) -> None:
    made = new_study(tmp_path / "study", sources, Settings(excerpts=2, turing=PAIRS, pairs=3), length=WORDS)
    assert Counter(one.source for one in made.study.stimuli) == {"human": 5, "net": 5}
    assert plan.read(tmp_path / "study")["design"]["pairs_of_each_source"] == 3


def test_without_a_wanted_number_a_small_source_makes_a_small_study(
    tmp_path: Path, sources: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    write_folder(tmp_path / "few", range(200, 203))
    pieces = f"human={sources['human']},few={tmp_path / 'few'}"
    arguments = ["study", "new", str(tmp_path / "study"), "--pieces", pieces, "--words", "40", "--no-headphones"]
    assert main(arguments) == 0
    assert "3 excerpts of each source instead of 8" in capsys.readouterr().err
    assert Counter(one.source for one in studies.read(tmp_path / "study").stimuli) == {"human": 3, "few": 3}
    assert plan.read(tmp_path / "study")["power"]["design"]["excerpts"] == 3
    assert main([*arguments, "--excerpts", "4"]) == 2  # a number that is asked for is kept to
    (tmp_path / "few" / "00.mid").unlink()
    (tmp_path / "few" / "01.mid").unlink()
    assert main([*arguments[:2], str(tmp_path / "other"), *arguments[3:]]) == 2
    assert "1 usable excerpt of 40 words from 1 piece, expected 8" in capsys.readouterr().err


def test_power_is_told_without_a_study(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", "power", "--sources", "3", "--excerpts", "12", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["listeners"] for row in found["rows"]] == [26, 50, 76, 100]
    assert found["design"]["per_source"] == 5 and found["alpha_of_one"] == 0.05 / 6
    assert main(["study", "power", "--turing", "pairs"]) == 0
    said = capsys.readouterr().out
    assert "listeners that each group needs" in said and "assumed" in said


@pytest.mark.parametrize(("sources", "rated"), [(2, 8), (3, 5), (6, 2), (20, 1)])
def test_a_listener_rates_about_sixteen_pieces_unless_more_is_asked_for(sources: int, rated: int) -> None:
    assert Settings().rated(sources) == rated
    assert Settings(per_source=7).rated(sources) == 7
