"""The columns of a source that names them once, for all its rows."""

from collections import Counter
from collections.abc import Sequence

from loader.core.dataset import Dataset
from loader.core.errors import SourceError
from loader.core.values import shown

_MOST_NAMES = 10


def check_columns(columns: Sequence[str], dataset: Dataset, ignore_extra: bool, header: str, hint: str = "") -> None:
    """Raise SourceError if columns are there twice, are lacking or, but with `ignore_extra`, are not known.

    Those that begin with `_` are loader's own. The message begins with `header`, which is what names the columns, and
    may end with a `hint` on why some are lacking.
    """
    if repeated := sorted(column for column, count in Counter(columns).items() if count > 1):
        raise SourceError(f"{header} names {_list(repeated)} more than once")
    known = {each.column: each for each in dataset.loaded}
    if missing := [column for column, each in known.items() if column not in columns and not each.optional]:
        raise SourceError(f"{header} lacks {_list(missing)} of {dataset.name}{hint}")
    unknown = [column for column in columns if column not in known and not column.startswith("_")]
    if unknown and not ignore_extra:
        raise SourceError(
            f"{header} names {_list(unknown)}, which {dataset.name} do not have; --ignore-extra leaves it out"
        )


def _list(names: Sequence[str]) -> str:
    text = ", ".join(map(shown, names[:_MOST_NAMES]))
    return text if len(names) <= _MOST_NAMES else f"{text} and {len(names) - _MOST_NAMES:,} more"
