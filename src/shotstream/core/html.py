"""Render self-contained HTML pages from the package's Jinja templates."""

from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined


def render_html(template: str, **values: Any) -> str:
    """Return a page made from a template of the package, such as `bench/report.html.jinja`.

    Values are escaped; mark HTML or SVG that is to stay as it is with `markupsafe.Markup`.
    """
    return _environment().get_template(template).render(**values)


@cache
def _environment() -> Environment:
    loader = PackageLoader("shotstream", "")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
