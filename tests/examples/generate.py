"""Make files in the shape of the public ones that the examples load, small and made up: the same seed, the same bytes.

The header, the spelling of a date, of NULL and of a flag, and the columns that the models leave out are those of
https://github.com/graphql-compose/graphql-compose-examples and https://github.com/dbt-labs/jaffle-shop-classic.
Here each employee stands behind the one that they report to, but for `nancy_first`, where it is as in the original.
"""

import csv
from collections.abc import Iterable
from datetime import date, timedelta
from pathlib import Path
from random import Random

STATUSES = ("placed", "shipped", "completed", "return_pending", "returned")
METHODS = ("credit_card", "coupon", "bank_transfer", "gift_card")
REPORTS_TO = {2: "NULL", 1: "2", 3: "2", 4: "2", 5: "2", 6: "5", 7: "5", 8: "2", 9: "5"}


def _write(file: Path, header: str, rows: Iterable[tuple[object, ...]]) -> None:
    with file.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows([header.split(","), *rows])


def jaffle_shop(directory: Path, seed: int = 0, orders: int = 100) -> None:
    random, first = Random(seed), date(2018, 1, 1)
    customers = [(at, f"Name{at}", f"{chr(64 + at % 26 + 1)}.") for at in range(1, orders + 1)]
    _write(directory / "raw_customers.csv", "id,first_name,last_name", customers)
    days = (first + timedelta(days=at) for at in range(orders))
    bought = [(at, random.randint(1, orders), day, random.choice(STATUSES)) for at, day in enumerate(days, 1)]
    _write(directory / "raw_orders.csv", "id,user_id,order_date,status", bought)
    paid = [order for order, *_ in bought for _ in range(random.choice((1, 1, 1, 2)))]
    payments = [(at, order, random.choice(METHODS), 100 * random.randint(0, 30)) for at, order in enumerate(paid, 1)]
    _write(directory / "raw_payments.csv", "id,order_id,payment_method,amount", payments)


def northwind(directory: Path, seed: int = 0, orders: int = 100, nancy_first: bool = False) -> None:
    random = Random(seed)

    def money(top: int) -> str:
        return f"{random.randrange(top)}.{random.randrange(100):02}"

    def midnight(day: date) -> str:
        return f"{day} 00:00:00.000"

    def maybe(text: str) -> str:
        return random.choice((text, "NULL"))

    pictures = [(at, f"Category {at}", "fresh, or not", f"0x{random.randbytes(400).hex()}") for at in range(1, 9)]
    _write(directory / "categories.csv", "categoryID,categoryName,description,picture", pictures)
    suppliers = [(at, f"Supplier {at}, Ltd.", f"{at} Käsegasse", maybe("Asturias"), "Spain") for at in range(1, 30)]
    _write(directory / "suppliers.csv", "supplierID,companyName,address,region,country", suppliers)
    shippers = [(at, f"Shipper {at}", "(503) 555-0100") for at in range(1, 4)]
    _write(directory / "shippers.csv", "shipperID,companyName,phone", shippers)
    codes = ["".join(random.choices("ABCDEFGHIJKLMNOPQRSTUVWXYZ", k=4)) + chr(65 + at) for at in range(26)]
    customers = [(code, f"{code} & Sons", "12, rue du Port", maybe("WA"), "France") for code in codes]
    _write(directory / "customers.csv", "customerID,companyName,address,region,country", customers)
    employees = [
        (at, f"Last{at}", f"First{at}", midnight(date(1992, at, 1)), "0x151C", 'Says "so",\nand so', boss)
        for at, boss in (sorted(REPORTS_TO.items()) if nancy_first else REPORTS_TO.items())
    ]
    _write(directory / "employees.csv", "employeeID,lastName,firstName,hireDate,photo,notes,reportsTo", employees)
    products = [
        (at, f"Product {at}", random.randint(1, 29), random.randint(1, 8), "10 boxes", money(300), random.choice("01"))
        for at in range(1, 78)
    ]
    header = "productID,productName,supplierID,categoryID,quantityPerUnit,unitPrice,discontinued"
    _write(directory / "products.csv", header, products)
    bought, lines = [], []
    for at in range(10248, 10248 + orders):
        day = date(1996, 7, 4) + timedelta(days=at - 10248)
        people = random.choice(codes), random.randint(1, 9)
        sent = maybe(midnight(day + timedelta(days=12)))
        bought.append((at, *people, midnight(day), sent, random.randint(1, 3), money(900), "59 rue de l'Abbaye"))
        for product in random.sample(range(1, 78), k=random.randint(1, 4)):
            discount = random.choice(("0", "0.05", "0.2"))
            lines.append((at, product, money(300), random.randint(1, 120), discount))
    header = "orderID,customerID,employeeID,orderDate,shippedDate,shipVia,freight,shipAddress"
    _write(directory / "orders.csv", header, bought)
    _write(directory / "order_details.csv", "orderID,productID,unitPrice,quantity,discount", lines)
