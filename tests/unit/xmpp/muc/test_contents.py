from bridge.store.outbox import KEPT_MAX
from bridge.xmpp.muc.contents import CONTENTS_MAX, Contents, Entry


def test_only_the_newest_are_listed() -> None:
    contents = Contents()
    for number in range(CONTENTS_MAX + 5):
        contents.add(f"${number}", number, 1)

    names = [entry.name for entry in contents.entries()]
    assert names == [f"${number}" for number in range(5, CONTENTS_MAX + 5)]
    assert contents.find("$4") is None
    assert len(contents) == CONTENTS_MAX


def test_an_id_that_is_used_again_still_names_the_first() -> None:
    contents = Contents()
    contents.add("$1", 1, 10)
    contents.add("$1", 2, 20)

    assert [entry.number for entry in contents.entries()] == [1]


def test_what_was_said_before_goes_before() -> None:
    contents = Contents()
    contents.add("$3", 3, 30)
    contents.merge([Entry("$2", 2, 20), Entry("$3", 3, 30), Entry("$1", 1, 10)])
    contents.add("$4", 4, 40)

    assert [entry.name for entry in contents.entries()] == ["$1", "$2", "$3", "$4"]


def test_the_store_keeps_as_much_as_is_listed() -> None:
    assert CONTENTS_MAX == KEPT_MAX
