from bridge.model.frozen import dataclass


@dataclass(frozen=True, slots=True)
class Spot:
    x: int
    y: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Named(Spot):
    name: str


def test_what_holds_the_same_is_the_same() -> None:
    assert Spot(1) == Spot(1, 0) != Spot(2)
    assert {Spot(1), Spot(1, 0), Spot(2)} == {Spot(1), Spot(2)}


def test_kinds_are_told_apart() -> None:
    named = Named(x=1, name="a")

    assert named != Spot(1)
    assert (named.x, named.y, named.name) == (1, 0, "a")
