"""Northwind: a trader's customers, employees and products, and what was ordered.

git clone https://github.com/graphql-compose/graphql-compose-examples
python -m loader --models tests/examples/northwind.py --data graphql-compose-examples/examples/northwind/data/csv \
    --ignore-extra
"""

from datetime import date
from decimal import Decimal
from typing import Literal

from attrs import define, field
from attrs.converters import to_bool
from attrs.validators import ge, gt, le, matches_re

from loader import Dataset, not_blank


def text(cell: str) -> str | None:
    return None if cell == "NULL" else cell


def number(cell: int | Literal["NULL"]) -> int | None:
    """As the parameter is annotated, a cell is either NULL or what an `int` is."""
    return None if cell == "NULL" else cell


def day(cell: str) -> date | None:
    """A date that is written with the time of midnight."""
    return None if cell == "NULL" else date.fromisoformat(cell.removesuffix(" 00:00:00.000"))


@define
class Category:
    category_id: int
    category_name: str = field(validator=not_blank)


@define
class Supplier:
    supplier_id: int
    company_name: str = field(validator=not_blank)
    region: str | None = field(converter=text)
    country: str


@define
class Shipper:
    shipper_id: int
    company_name: str = field(validator=not_blank)


@define
class Customer:
    customer_id: str = field(validator=matches_re("[A-Z]{5}"))
    company_name: str = field(validator=not_blank)
    region: str | None = field(converter=text)
    country: str


@define
class Employee:
    employee_id: int
    last_name: str
    first_name: str
    hire_date: date = field(converter=day)
    reports_to: int | None = field(converter=number)


@define
class Product:
    product_id: int
    product_name: str = field(validator=not_blank)
    supplier_id: int
    category_id: int
    unit_price: Decimal = field(validator=ge(Decimal(0)))
    discontinued: bool = field(converter=to_bool)


@define
class Order:
    order_id: int
    customer_id: str
    employee_id: int
    ship_via: int
    order_date: date = field(converter=day)
    shipped_date: date | None = field(converter=day)
    freight: Decimal = field(validator=ge(Decimal(0)))


@define
class OrderDetail:
    order_id: int
    product_id: int
    unit_price: Decimal = field(validator=ge(Decimal(0)))
    quantity: int = field(validator=gt(0))
    discount: Decimal = field(validator=[ge(Decimal(0)), le(Decimal(1))])


def camel(name: str) -> str:
    """The column of a field as the files call it: `unit_price` is unitPrice, `order_id` is orderID."""
    first, *more = name.split("_")
    return first + "".join("ID" if word == "id" else word.title() for word in more)


CATEGORIES = Dataset("categories", Category, key="category_id", columns=camel)
SUPPLIERS = Dataset("suppliers", Supplier, key="supplier_id", columns=camel)
SHIPPERS = Dataset("shippers", Shipper, key="shipper_id", columns=camel)
CUSTOMERS = Dataset("customers", Customer, key="customer_id", columns=camel)
EMPLOYEES = Dataset("employees", Employee, key="employee_id", columns=camel, references={"reports_to": "employees"})
PRODUCTS = Dataset(
    "products",
    Product,
    key="product_id",
    columns=camel,
    references={"supplier_id": "suppliers", "category_id": "categories"},
)
ORDERS = Dataset(
    "orders",
    Order,
    key="order_id",
    columns=camel,
    references={"customer_id": "customers", "employee_id": "employees", "ship_via": "shippers"},
)
ORDER_DETAILS = Dataset(
    "order_details",
    OrderDetail,
    key=("order_id", "product_id"),
    columns=camel,
    references={"order_id": "orders", "product_id": "products"},
)
