"""What is loaded here: authors, and their books.

Change it into your own: `python -m loader` loads every Dataset that it finds in this file.
"""

from datetime import date
from decimal import Decimal

from attrs import define, field
from attrs.validators import gt, matches_re

from loader import Dataset, max_places, not_blank


@define
class Author:
    """A row of data/authors.csv; the names of its columns are those of the fields."""

    id: int = field(validator=gt(0))
    name: str = field(validator=not_blank)  # a validator is any of attrs, of loader, or your own
    country: str | None = None  # optional: its cell may be empty, or the column left out


@define
class Book:
    """A row of data/books.csv."""

    isbn: str = field(validator=matches_re("97[89][0-9]{10}"))
    title: str = field(validator=not_blank)
    author_id: int
    price: Decimal = field(validator=[gt(0), max_places(2)])
    published: date


# Each dataset is read from data/NAME.csv (or .json, .ndjson), and kept in NAME.db.
AUTHORS = Dataset(
    name="authors",
    model=Author,
    key="id",  # what identifies a record
    unique=("name",),  # what no two records may share
)
BOOKS = Dataset(
    name="books",
    model=Book,
    key="isbn",
    references={"author_id": "authors"},  # no book is stored before its author is
)
