from nio.crypto.sas import Sas

from bridge.matrix.megolm.emoji import EMOJI

PLAIN = str.maketrans("", "", "\ufe0f")
"""Some are written with, some without the sign that asks for colours."""


def test_the_pictures_are_those_that_others_show() -> None:
    ours = [picture.translate(PLAIN) for picture, _ in EMOJI]

    assert ours == [picture.translate(PLAIN) for picture, _ in Sas.emoji]


def test_each_picture_has_a_name_of_its_own() -> None:
    names = [name for _, name in EMOJI]

    assert len(set(names)) == len(names) == 64
    assert names[0] == "Dog"
    assert names[63] == "Pin"
