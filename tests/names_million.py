"""Names both ways, on random ids: ``python -m tests.names_million [HOW_MANY]``.

What is checked of each: it is read back as what it was, no two are written alike, and
what is written is valid by both networks' grammars, canonical, and not too long.
"""

import secrets
import sys

from bridge.matrix.codec import names as matrix
from bridge.xmpp.codec import names as xmpp
from bridge.xmpp.codec.prep import nodeprep

SERVER = "matrix.example.org"
COMPONENT = "bridge.example.org"
PLANES = ((0x21, 0x7E), (0x61, 0x7A), (0x21, 0xD7FF), (0xE000, 0x10FFFF))
SERVERS = (
    "hs",
    "Matrix.ORG",
    "a-b.c.example:8448",
    "[::1]",
    "[2001:db8::1]:443",
    "192.0.2.1:80",
)
LENGTHS = (1, 3, 8, 20, 60)
_choose = secrets.SystemRandom()


def word(banned: str) -> str:
    """Make a word of any characters but those *banned* and white space."""
    low, high = _choose.choice(PLANES)
    letters = (chr(_choose.randint(low, high)) for _ in range(_choose.choice(LENGTHS)))
    made = "".join(c for c in letters if c not in banned and not c.isspace())
    return made or "x"


def id_of_matrix(sigil: str) -> str:
    """Make an MXID, an alias or a room id that is not too long."""
    name = word(":\0").encode()[:200].decode(errors="ignore") or "x"
    return f"{sigil}{name}:{_choose.choice(SERVERS)}"


def address() -> str | None:
    """Make a canonical address of XMPP; None if what came up is none."""
    local = word("\"&'/:<>@")
    domain = _choose.choice(
        ("capulet.lit", "bücher.example", "a_b.x", "[::1]", word("@/"))
    )
    resource = _choose.choice(("", "", f"/{word('')}"))
    jid = xmpp.parse(f"{local}@{domain}{resource}")
    return jid.full if jid else None


class Injective:
    """Remembers by a digest who is written how, to find two that are written alike."""

    def __init__(self) -> None:
        self._known: dict[int, int] = {}

    def add(self, name: str, written: str) -> None:
        """Take note that *name* is written so."""
        assert self._known.setdefault(hash(written), hash(name)) == hash(name), name


def check_person(mxid: str, seen: Injective) -> None:
    """Check the address of a Matrix person."""
    local = xmpp.puppet_local(mxid)
    seen.add(mxid, local)
    assert matrix.valid_mxid(mxid), mxid
    assert xmpp.mxid_of(local) == mxid, mxid
    assert nodeprep(local) == local, mxid
    assert len(local.encode()) <= xmpp.PART_BYTES_MAX, mxid
    assert xmpp.parse(xmpp.puppet_jid(mxid, COMPONENT)) == (local, COMPONENT, ""), mxid


def check_room(room: str, seen: Injective) -> None:
    """Check the address of a Matrix room."""
    local = xmpp.room_local(room)
    seen.add(room, local)
    assert xmpp.room_of(local) == room, room
    assert nodeprep(local) == local, room
    assert len(local.encode()) <= xmpp.PART_BYTES_MAX, room


def check_ghost(person: str, seen: Injective) -> None:
    """Check the MXID of an XMPP person, and the alias of an XMPP room."""
    mxid = matrix.ghost_mxid(person, SERVER)
    seen.add(person, mxid)
    assert matrix.valid_mxid(mxid), person
    assert matrix.person_of(mxid, SERVER) in (person, None), person
    muc = person.partition("/")[0]
    alias = matrix.muc_alias(muc, SERVER)
    seen.add(muc, alias)
    assert len(alias.encode()) <= matrix.ID_BYTES_MAX, person
    assert matrix.muc_of(alias, SERVER) in (muc, None), person
    assert not matrix.muc_of(alias, "other.example"), person


def check(count: int) -> int:
    """Check *count* random ids; return how many there were of them in the end."""
    people, rooms, ghosts = Injective(), Injective(), Injective()
    checked = 0
    while checked < count:
        check_person(id_of_matrix("@"), people)
        check_room(id_of_matrix(_choose.choice("#!")), rooms)
        check_room(f"!{word(':')}", rooms)
        checked += 3
        if person := address():
            check_ghost(person, ghosts)
            checked += 1
    return checked


if __name__ == "__main__":
    total = check(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
    sys.stdout.write(f"{total} ids, all of them read back\n")
