import pytest

from bridge.matrix.numbering import GAPS_MAX, OFTEN_S, Numbering


def skips(numbering: Numbering, *txns: str) -> list[bool]:
    return [numbering.skips(txn) for txn in txns]


def test_a_number_that_is_left_out_is_noticed() -> None:
    assert skips(Numbering(), "7", "8", "10", "11") == [False, False, True, False]


def test_what_begins_anew_or_comes_again_leaves_nothing_out() -> None:
    assert not any(skips(Numbering(), "7", "7", "8", "1", "2"))


@pytest.mark.parametrize("name", ["", "m1700", "²", "1" * 19, "-5"])
def test_what_is_no_number_leaves_nothing_out(name: str) -> None:
    assert not any(skips(Numbering(), "7", name, "9"))


def test_where_others_count_along_what_is_left_out_is_theirs() -> None:
    """Synapse numbers what it sends to all its appservices in one row."""
    clock = [0.0]
    numbering = Numbering(lambda: clock[0])

    assert skips(numbering, *(str(n) for n in range(1, 41, 2))).count(True) == GAPS_MAX

    clock[0] += 2 * OFTEN_S
    assert not any(skips(numbering, "60", "70"))


def test_what_is_left_out_now_and_then_is_missing_each_time() -> None:
    clock = [0.0]
    numbering = Numbering(lambda: clock[0])
    numbering.skips("1")

    for turn in range(1, 4 * GAPS_MAX):
        clock[0] += OFTEN_S / GAPS_MAX + 1
        assert numbering.skips(str(1 + 2 * turn))
