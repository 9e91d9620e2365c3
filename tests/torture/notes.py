"""A dataset whose model says in its messages whatever stands in the rows, in hexadecimal digits."""

from attrs import define, field

from loader.core.dataset import Dataset


def _speak(_instance: object, _attribute: object, value: str) -> None:
    raise ValueError(bytes.fromhex(value).decode(errors="surrogatepass"))


def spoken(text: str) -> str:
    """The note that is refused with this message."""
    return text.encode(errors="surrogatepass").hex()


@define
class Note:
    id: int
    note: str = field(validator=_speak)


NOTES = Dataset(name="notes", model=Note, key="id")
