from bridge.store.numbers import BLOCK, Numbers


def test_numbers_go_on_after_those_in_use() -> None:
    numbers = Numbers(41)

    assert [numbers.take(), numbers.take()] == [42, 43]


def test_a_block_is_reserved_when_the_last_is_used_up() -> None:
    numbers = Numbers(0)
    assert numbers.to_reserve(0) == 0

    numbers.take()

    assert numbers.to_reserve(0) == 1 + BLOCK
    assert numbers.to_reserve(1) == 1
