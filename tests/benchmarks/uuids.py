"""Users, products and orders whose keys are UUIDs, for the files that generate.py makes with them."""

from decimal import Decimal
from uuid import UUID

from attrs import define, field
from attrs.validators import gt

from loader import Dataset
from loader.core.values import email, max_places, not_blank


@define
class User:
    id: UUID
    name: str = field(validator=not_blank)
    email: str = field(validator=email)


@define
class Product:
    id: UUID
    name: str = field(validator=not_blank)
    price: Decimal = field(validator=[gt(0), max_places(2)])


@define
class Order:
    id: UUID
    user_id: UUID
    product_id: UUID
    quantity: int = field(validator=gt(0))


USERS = Dataset("users", User, "id", unique="email", nocase="email")
PRODUCTS = Dataset("products", Product, "id", unique="name")
ORDERS = Dataset("orders", Order, "id", references={"user_id": "users", "product_id": "products"})
