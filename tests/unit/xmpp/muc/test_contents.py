from bridge.xmpp.muc.contents import CONTENTS_MAX, Contents


def test_only_the_newest_are_listed() -> None:
    contents = Contents()
    for number in range(CONTENTS_MAX + 5):
        contents.add(number, f"${number}", 1)

    names = [entry.name for entry in contents.entries()]
    assert names == [f"${number}" for number in range(5, CONTENTS_MAX + 5)]
    assert contents.find("$4") is None
    assert len(contents) == CONTENTS_MAX


def test_an_id_that_is_used_again_still_names_the_first() -> None:
    contents = Contents()
    contents.add(1, "$1", 10)
    contents.add(2, "$1", 20)

    assert [entry.number for entry in contents.entries()] == [1]
