"""Load related records into databases of their own, at the same time, and account for every one."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from loader.api import *  # noqa: F403 - which names these are is said there, in __all__
else:

    def __getattr__(name: str) -> Any:
        """Bring in the public names once the first of them is wanted, so that `import loader` alone costs nothing."""
        api = import_module("loader.api")
        globals().update({each: getattr(api, each) for each in api.__all__}, __all__=api.__all__)
        if name in globals():
            return globals()[name]
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__getattr__("__all__")})
