"""The jaffle shop of dbt: customers, what they order, and how they pay.

git clone https://github.com/dbt-labs/jaffle-shop-classic
python -m loader --models tests/examples/jaffle_shop.py --data jaffle-shop-classic/seeds
"""

from datetime import date
from decimal import Decimal
from typing import Literal

from attrs import define, field
from attrs.validators import ge

from loader import Dataset


def dollars(cents: int) -> Decimal:
    """An amount as it is kept; because of `int`, the cell is read as an integer."""
    return Decimal(cents).scaleb(-2)


@define
class Customer:
    id: int
    first_name: str
    last_name: str


@define
class Order:
    id: int
    user_id: int
    order_date: date
    status: Literal["placed", "shipped", "completed", "return_pending", "returned"]


@define
class Payment:
    id: int
    order_id: int
    payment_method: Literal["credit_card", "coupon", "bank_transfer", "gift_card"]
    amount: Decimal = field(converter=dollars, validator=ge(Decimal(0)))


# The names are those of the files, raw_customers.csv and so on; the tables are all in jaffle_shop.db.
CUSTOMERS = Dataset("raw_customers", Customer, key="id", table="customers", database="jaffle_shop")
ORDERS = Dataset(
    "raw_orders",
    Order,
    key="id",
    references={"user_id": "raw_customers"},
    table="orders",
    database="jaffle_shop",
)
PAYMENTS = Dataset(
    "raw_payments",
    Payment,
    key="id",
    references={"order_id": "raw_orders"},
    table="payments",
    database="jaffle_shop",
)
