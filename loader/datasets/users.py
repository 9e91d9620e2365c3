"""Users: each has a name, and an e-mail address that nobody else has."""

from attrs import define, field
from attrs.validators import gt

from loader.core.dataset import Dataset
from loader.core.values import email, not_blank


@define
class User:
    id: int = field(validator=gt(0))
    name: str = field(validator=not_blank)
    email: str = field(validator=email)


USERS = Dataset(name="users", model=User, key="id", unique=("email",), nocase=("email",))
