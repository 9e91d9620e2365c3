"""What is loaded: the gallery of datasets."""

from loader.datasets.orders import ORDERS
from loader.datasets.products import PRODUCTS
from loader.datasets.users import USERS

__all__ = ["DATASETS", "ORDERS", "PRODUCTS", "USERS"]

DATASETS = (USERS, PRODUCTS, ORDERS)
