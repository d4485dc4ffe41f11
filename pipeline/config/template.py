"""Names of mask files, made of the names of images: ``mask.template``."""

import re
from string import Formatter

from pipeline.errors import ConfigError

TEMPLATE_FIELDS = ("path", "dir", "stem", "ext", "n")
NUMBER = "\0"  # in place of {n} in the name of a mask; no file has it in its name
_NUMBER_BESIDE_FIELD = re.compile(r"\}\{n\}|\{n\}\{|\{n\}.*\{n\}", re.DOTALL)


def check_template(template: str) -> None:
    """Refuse a template that names no file.

    Raises:
        ConfigError: it is empty, holds unknown names in braces, or a number whose end cannot be told.
    """
    if not template.strip():
        raise ConfigError("mask.template must not be empty; null tries the same path, then the same stem")
    try:
        placed = [
            (field, spec, conversion) for _, field, spec, conversion in Formatter().parse(template) if field is not None
        ]
    except ValueError as error:
        raise ConfigError(f"mask.template={template}: {error}") from error
    if not all(field in TEMPLATE_FIELDS and not spec and not conversion for field, spec, conversion in placed):
        known = ", ".join(f"{{{field}}}" for field in TEMPLATE_FIELDS)
        raise ConfigError(f"mask.template may hold only {known} in braces, got {template}")
    if _NUMBER_BESIDE_FIELD.search(template):
        raise ConfigError(
            f"mask.template={template}: {{n}} may occur once, and not right beside another name in braces"
        )
