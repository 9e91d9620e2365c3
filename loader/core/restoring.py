"""Whether what a database keeps is what a load would have stored: restored to values, and judged by the model again."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import chain

from attrs import evolve

from loader.core.columns import Check, column_check, doubtful, is_sure
from loader.core.dataset import Dataset
from loader.core.fields import Field, Group, has_hook
from loader.core.judging import Absent, named
from loader.core.parsing import broken_rules, fill
from loader.core.records import Batch, Code, Draft, Reason, Records
from loader.core.values import shortened

Row = tuple[object, ...]
Contests = Mapping[tuple[int, Group], tuple[object, object]]
"""By number of row and group, its value, and the key of the row before that has the same one."""


def by_names(dataset: Dataset) -> Dataset:
    """The same dataset, with the columns of its table."""
    return evolve(dataset, columns={name: name for name in dataset.names})


def restored(dataset: Dataset, rows: Sequence[Row], before: int) -> Batch:
    """The rows of a table, numbered from 1, so many of which came before: records, and drafts of what is none.

    A value is judged by its type and by the validators of the model, and the record by the model's hook; converters
    and what the model computes by itself have had their say.
    """
    drafts = [_draft(dataset, before + 1 + at, rows[at]) for at in _suspects(dataset, rows)]
    drafts = [draft for draft in drafts if draft.reasons]
    faulty = {draft.line for draft in drafts}
    lines = [line for line in range(before + 1, before + 1 + len(rows)) if line not in faulty]
    return Batch(Records.of(rows[line - before - 1] for line in lines), lines, drafts)


def _suspects(dataset: Dataset, rows: Sequence[Row]) -> Sequence[int]:
    """The rows that the checks of columns are not sure of."""
    checks = [column_check(each.attribute.validator) for each in dataset.fields]
    if None in checks or has_hook(dataset.model):
        return range(len(rows))
    columns = zip(dataset.fields, checks, zip(*rows, strict=True), strict=False)
    found = (doubtful(partial(_passes, each, check), column) for each, check, column in columns)
    return sorted(set(chain.from_iterable(found)))


def _passes(one: Field, check: Check | None, column: Sequence[object]) -> bool:
    values = one.restore_all(column)
    return values is not None and is_sure(check, values)


def _draft(dataset: Dataset, line: int, row: Row) -> Draft:
    """All that is wrong with a row by itself; an instance of the model is filled with its values, and thrown away."""
    found: list[Reason] = []
    understood: dict[int, object] = {}
    instance = dataset.model.__new__(dataset.model)
    for at, (each, kept) in enumerate(zip(dataset.fields, row, strict=True)):
        try:
            value = each.restored(kept)
        except ValueError as error:
            code: Code = "constraint-error" if kept is None else "type-error"
            found.append(Reason(code, each.column, shortened(str(error)), kept))
        else:
            understood[at] = kept
            if each.attribute.init:
                object.__setattr__(instance, each.attribute.name, value)
        if not each.attribute.init:
            with suppress(Exception):  # it needs what is not understood
                fill(each, instance, None)
    found += broken_rules(dataset, instance, dict(zip(dataset.names, row, strict=True)))
    return Draft(line, tuple(found), understood)


def faults(
    dataset: Dataset, batch: Batch, absent: Mapping[Group, Absent], contests: Contests
) -> dict[int, list[Reason]]:
    """All that is wrong with rows that were restored, by their numbers, in order.

    `absent` has what references name in vain.
    """
    found = {draft.line: list(draft.reasons) for draft in batch.drafts}
    for group, missing in absent.items():
        records = zip(batch.lines, group.of_all(batch.records), strict=True)
        for line, value in chain(records, ((draft.line, group.of(draft.values)) for draft in batch.drafts)):
            if value in missing.keys:
                reason = Reason("foreign-key", group.name, shortened(f"no {missing.singular} {named(value)}"), value)
                found.setdefault(line, []).append(reason)
    for (line, group), (value, holder) in contests.items():
        if group is dataset.key_group:
            reason = Reason("primary-key", group.name, shortened(f"{named(value)} is stored already"), value, holder)
        else:
            message = shortened(f"{named(value)} is {dataset.singular} {named(holder)}'s")
            reason = Reason("unique-error", group.name, message, value, holder)
        found.setdefault(line, []).append(reason)
    return dict(sorted(found.items()))
