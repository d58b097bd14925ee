from bridge.matrix.wires import Says, Stands, Titles, content, order, wire


def test_the_content_goes_out_as_the_bytes_that_were_written() -> None:
    says = Says("@g:hs", "!r:hs", content({"body": "Où ?"}), "Juliet", "juliet@x")

    read = order(wire(says).data)

    assert isinstance(read, Says)
    assert bytes(read.content) == '{"body":"Où ?"}'.encode()
    assert (read.user, read.name, read.type) == ("@g:hs", "Juliet", "m.room.message")


def test_each_kind_of_order_is_read_back_as_it_was() -> None:
    stands = Stands("@g:hs", "!r:hs", "@g:hs", "leave", reason="gone")
    titles = Titles("@g:hs", "@bot:hs", "!r:hs", "Tea")

    assert order(wire(stands).data) == stands
    assert order(wire(titles).data) == titles


def test_no_two_wires_share_a_transaction() -> None:
    """Synapse takes the second of two equal txnIds for the first, whoever sends it."""
    says = Says("@g:hs", "!r:hs", content({}))

    assert len({wire(says).key for _ in range(100)}) == 100
