"""The ledger says what was compared; or its figures prove nothing."""

from tests.e2e.ledger import account, displaced
from tests.faults.book import Entry, table

SAID = ["matrix 0000", "matrix 0001", "matrix 0002"]


def test_an_entry_sums_up_what_was_compared() -> None:
    across = account(SAID, [*SAID[1::-1], SAID[0]], 1, (), "a chat: Matrix on XMPP")
    beside = account(SAID, SAID, 0, (), "a room: Matrix on Matrix")

    entry = Entry.of(("1, 2", "bridge killed", "here"), [across, beside])

    assert entry.messages == len(SAID)
    assert (entry.lost, entry.doubled, entry.allowed) == (1, 1, 1)
    assert entry.inverted == 2


def test_what_came_out_of_its_order_is_as_little_as_can_be() -> None:
    said = list("abcdef")

    assert displaced(said, list("abcdef")) == set()
    assert displaced(said, list("acdebf")) == {"b"}
    assert displaced(said, list("acdexf")) == set()
    assert displaced(said, list("bcdefa")) == {"a"}
    assert displaced(said, list("abcabcdef")) == set()
    assert len(displaced(said, list("fedcba"))) == len(said) - 1


def test_the_table_is_in_the_order_of_the_rows_and_has_a_sum() -> None:
    entries = [
        Entry(row, fault, "here", 10, 0, 1, 1, 0, 0, result)
        for row, fault, result in (
            ("14", "restarted", "passed"),
            ("2, 3", "killed", "failed"),
            ("", "soak", "passed"),
        )
    ]

    lines = table(entries).splitlines()

    assert [line.split("|")[1].strip() for line in lines[2:]] == ["", "2, 3", "14", ""]
    assert lines[-1].split() == [
        *("|", "|", "3", "runs", "|", "|", "30", "|", "0", "|", "3", "|", "3"),
        *("|", "0", "|", "0", "|", "1", "not", "passed", "|"),
    ]
    assert len({len(line) for line in lines}) == 1
