"""A message in parts is one message: of what was refused nothing more is sent."""

from collections.abc import Awaitable, Callable, Sequence

from bridge.model.delivery import Parcel

Read = Callable[[int], Awaitable[Sequence[Parcel]]]
"""Reads the parcels of a lane that come after the one of that id."""


def through_part(parcels: Sequence[Parcel]) -> Sequence[Parcel]:
    """Cut *parcels* behind the first that has parts after it.

    What is sent together is refused too late to keep the rest back.
    """
    for place, parcel in enumerate(parcels, 1):
        if not parcel.last and is_followed(parcel):
            return parcels[:place]
    return parcels


def is_followed(parcel: Parcel) -> bool:
    """Tell whether more parts of the same message come after *parcel*."""
    return bool(parcel.seq) and not parcel.last


async def read_rest(parcel: Parcel, read: Read) -> Sequence[Parcel]:
    """Read the parts of a message that come after *parcel*, by *read*."""
    rest: list[Parcel] = []
    part = parcel
    while is_followed(part):
        page = await read(part.id)
        if not page or page[0].seq != parcel.seq:
            break
        for part in page:
            rest.append(part)
            if part.last:
                break
    return rest
