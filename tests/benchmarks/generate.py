"""Make files of users, products and orders of any size, with faults of every kind: the same seed, the same bytes.

python tests/benchmarks/generate.py big --users 1000000 --products 200000 --orders 2000000 --faults 0.01
"""

import argparse
import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from uuid import UUID

Row = dict[str, str]
Fault = Callable[[Row, Random, int], None]


def _set(name: str, value: str) -> Fault:
    return lambda row, random, at: row.update({name: value})


def _earlier(name: str, form: str) -> Fault:
    """A value that an earlier row has."""
    return lambda row, random, at: row.update({name: form.format(random.randrange(1, max(at, 2)))})


USER_FAULTS: list[Fault] = [
    _set("id", "1_000"),
    _set("name", "   "),
    _set("email", "not an address"),
    _earlier("id", "{}"),
    _earlier("email", "USER{}@example.com"),
]
PRODUCT_FAULTS: list[Fault] = [
    _set("id", "-3"),
    _set("name", ""),
    _set("price", "1e3"),
    _set("price", "-5.00"),
    _set("price", "9.999"),
    _earlier("id", "{}"),
    _earlier("name", "Product {}"),
]
ORDER_FAULTS: list[Fault] = [
    _set("quantity", "0"),
    _set("quantity", "two"),
    _set("user_id", "999999999999"),
    _set("product_id", "999999999999"),
    _earlier("id", "{}"),
]


KEYS: dict[str, Callable[[int], str]] = {
    "integers": str,
    "uuids": lambda at: str(UUID(int=at * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128)),
}
"""The key of the n-th user, product or order; UUIDs go with the models of uuids.py, and stand in no order."""


def users(count: int, random: Random, key: Callable[[int], str] = str) -> Iterator[Row]:
    for at in range(1, count + 1):
        yield {"id": key(at), "name": f"User {at}", "email": f"user{at}@example.com"}


def products(count: int, random: Random, key: Callable[[int], str] = str) -> Iterator[Row]:
    for at in range(1, count + 1):
        price = random.randrange(1, 1_000_000)
        yield {"id": key(at), "name": f"Product {at}", "price": f"{price // 100}.{price % 100:02}"}


def orders(
    count: int, user_count: int, product_count: int, random: Random, key: Callable[[int], str] = str
) -> Iterator[Row]:
    for at in range(1, count + 1):
        user, product = random.randrange(1, user_count + 1), random.randrange(1, product_count + 1)
        yield {
            "id": key(at),
            "user_id": key(user),
            "product_id": key(product),
            "quantity": str(random.randrange(1, 10)),
        }


def with_faults(rows: Iterator[Row], kinds: list[Fault], rate: float, random: Random) -> Iterator[Row]:
    """The same rows, a share of them spoilt in one way or another."""
    for at, row in enumerate(rows, 1):
        if random.random() < rate:
            random.choice(kinds)(row, random, at)
        yield row


def write(path: Path, rows: Iterator[Row]) -> None:
    """Write rows to a file in the format that the ending of its name tells."""
    with path.open("w", newline="", encoding="utf-8") as file:
        if path.suffix == ".csv":
            first = next(rows)
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(first)
            writer.writerow(first.values())
            writer.writerows(row.values() for row in rows)
        elif path.suffix == ".ndjson":
            file.writelines(json.dumps(row) + "\n" for row in rows)
        else:
            file.write("[\n")
            file.writelines(("" if at == 0 else ",\n") + json.dumps(row) for at, row in enumerate(rows))
            file.write("\n]\n")


def generate(
    directory: Path,
    user_count: int,
    product_count: int,
    order_count: int,
    faults: float,
    seed: int,
    form: str,
    keys: str = "integers",
) -> None:
    """Write users, products and orders to a directory."""
    directory.mkdir(parents=True, exist_ok=True)
    random, key = Random(seed), KEYS[keys]
    made = {
        "users": (users(user_count, random, key), USER_FAULTS),
        "products": (products(product_count, random, key), PRODUCT_FAULTS),
        "orders": (orders(order_count, user_count, product_count, random, key), ORDER_FAULTS),
    }
    for name, (rows, kinds) in made.items():
        write(directory / f"{name}.{form}", with_faults(rows, kinds, faults, random))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--products", type=int, default=20_000)
    parser.add_argument("--orders", type=int, default=200_000)
    parser.add_argument("--faults", type=float, default=0.01, help="share of the rows that are spoilt (0.01)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keys", choices=tuple(KEYS), default="integers")
    parser.add_argument("--format", choices=("csv", "json", "ndjson"), default="csv")
    given = parser.parse_args()
    generate(
        given.directory, given.users, given.products, given.orders, given.faults, given.seed, given.format, given.keys
    )


if __name__ == "__main__":
    main()
