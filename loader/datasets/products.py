"""Products: each has a name of its own and a price."""

from decimal import Decimal

from attrs import define, field
from attrs.validators import gt

from loader.core.dataset import Dataset
from loader.core.values import max_places, not_blank


@define
class Product:
    id: int = field(validator=gt(0))
    name: str = field(validator=not_blank)
    price: Decimal = field(validator=[gt(0), max_places(2)])


PRODUCTS = Dataset(name="products", model=Product, key="id", unique=("name",))
