"""The base of every part of the configuration."""

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from ._problems import describe
from ._yaml import Document
from .errors import ConfigError

if TYPE_CHECKING:
    from pydantic._internal._model_construction import ModelMetaclass
else:
    ModelMetaclass = type(BaseModel)  # under no public name


class _Made(ModelMetaclass):
    """Of parts that a program makes itself, as ``kp.File(path=…)``: what is wrong is told as for a file."""

    def __call__(cls: type[Any], *args: Any, **options: Any) -> Any:  # noqa: N805 - it is a class's class
        try:
            return ModelMetaclass.__call__(cls, *args, **options)
        except ValidationError as error:
            document = Document(cls.__name__, options)
            lines = [document.at(*problem) for problem in describe(error, cls, document)]
            raise ConfigError("\n".join(lines), op="configure") from None


class Section(BaseModel, metaclass=_Made):
    """Part of the configuration. Unknown keys are errors; error texts do not quote values."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True
    )
