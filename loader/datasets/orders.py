"""Orders: so many of one product for one user."""

from attrs import define, field
from attrs.validators import gt

from loader.core.dataset import Dataset


@define
class Order:
    id: int = field(validator=gt(0))
    user_id: int
    product_id: int
    quantity: int = field(validator=gt(0))


ORDERS = Dataset(name="orders", model=Order, key="id", references={"user_id": "users", "product_id": "products"})
