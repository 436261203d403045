"""From runs of the ring to verdicts and the page that is made of them."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from benchmarks.results import ROOT
from benchmarks.routing.ring import STRATEGIES, main
from benchmarks.routing.ring_page import PAGE, Measured, page, read_measured, sources_of
from benchmarks.routing.verdicts import JUDGED, OURS, Cells, regret, verdicts
from routing.strategies.every import all_policies

WHERE = "chats/0.9/1"


def cells(ours: list[float], theirs: list[float], knowing: list[float] | None = None) -> Cells:
    """One condition; all kinds are alike, and a third strategy is hopeless."""
    made = {OURS: ours, "peer": theirs, "hopeless": [100.0] * len(ours), "clairvoyant": knowing or theirs}
    kinds = (*JUDGED, "TTFT p50", "token hits", "request skew")
    return {WHERE: {name: dict.fromkeys(kinds, values) for name, values in made.items()}}


def test_a_loss_is_a_loss_and_says_whether_by_chance():
    first = next(verdicts(cells([2.0, 2.2, 2.4], [1.0, 1.1, 1.2])))
    assert first.ratio == pytest.approx(2.0)
    assert (first.is_lost, first.is_by_chance, first.best_strategy) == (True, False, "peer")
    assert [first.least, first.most] == pytest.approx([2.0, 2.0])
    lucky = next(verdicts(cells([1.0, 1.0, 1.0, 2.0], [1.0, 1.1, 1.2, 1.1])))
    assert (lucky.is_lost, lucky.is_by_chance) == (True, True)


def test_one_seed_has_no_interval():
    only = next(verdicts(cells([2.0], [1.0])))
    assert only.least != only.least
    assert only.is_by_chance
    assert str(only) == "chats/0.9/1, TTFT mean: 2.00 (2.000 against 1.000 s of peer)"


def test_who_knows_everything_is_nobody_to_lose_to():
    found = list(verdicts(cells([1.0], [1.0], knowing=[0.5])))
    assert [verdict.ratio for verdict in found] == [1.0] * len(JUDGED)
    assert regret(cells([1.0], [1.0], knowing=[0.5]), WHERE, OURS, "TTFT mean") == 2.0


def test_the_page_tells_losses_and_wins():
    lost = Measured([1001, 1002], 10, {"chats": "some chats"}, cells([2.0, 2.2], [1.0, 1.1]))
    text = page([lost], "a.json")
    assert "**3 are lost**" in text
    assert "- chats/0.9/1, TTFT mean: 2.00 [2.00-2.00] (2.100 against 1.050 s of peer)" in text
    won = page([Measured([1001], 10, {"chats": "some chats"}, cells([0.5], [1.0]))], "a.json")
    assert "None by more than 5 %." in won
    assert "3 are ahead by 20 % or more" in won


def test_the_first_result_that_tells_a_condition_counts():
    first, second = (Measured([1001], 10, {"chats": ""}, cells([value], [1.0])) for value in (0.5, 3.0))
    assert "None by more than 5 %." in page([first, second], "a b")


def test_the_committed_page_is_made_from_its_results():
    text = PAGE.read_text()
    sources = sources_of(text)
    assert text == page([read_measured(source) for source in sources], " ".join(sources)), "run `make docs`"
    assert all((ROOT / source).exists() for source in sources)


def test_the_command_line_measures_and_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    words = ["--works", "azure", "--loads", ".7", "--settings", "4 not", "--strategies", f"{OURS},round-robin"]
    main([*words, "--requests", "40", "--seeds", "2", "--processes", "1", "--out", str(tmp_path)])
    measured = msgspec.json.decode((tmp_path / "ring.json").read_bytes(), type=Measured)
    assert measured.seeds == [1001, 1002]
    assert list(measured.cells) == ["azure/0.7/4 not"]
    assert [len(kinds["TTFT p99"]) for kinds in measured.cells["azure/0.7/4 not"].values()] == [2, 2]
    assert "round-robin" in capsys.readouterr().out
    before = (tmp_path / "ring.json").read_bytes()
    cell = measured.cells["azure/0.7/4 not"]
    cell[OURS] = {kind: [0.0] * 2 for kind in cell[OURS]}
    (tmp_path / "ring.json").write_bytes(msgspec.json.encode(measured))
    main(["--into", str(tmp_path / "ring.json"), "--strategies", OURS, "--processes", "1"])
    again = msgspec.json.decode((tmp_path / "ring.json").read_bytes(), type=Measured)
    assert again == msgspec.json.decode(before, type=Measured), "measured anew, the others kept"


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--works", "chess"], "--works: 'chess' is none of system-prompt"),
        (["--strategies", "fastest"], "--strategies: 'fastest' is none of prefix-cache-and-load"),
        (["--seeds", "0"], "--seeds, --requests and --processes are at least 1"),
    ],
)
def test_bad_words_are_named(words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main(words)
    assert complaint in capsys.readouterr().err


def test_own_strategies_of_the_ring_exist():
    known = all_policies(lambda: 0.0, None)  # type: ignore[arg-type]  # nothing is drawn
    assert set(STRATEGIES[:6]) <= set(known)
