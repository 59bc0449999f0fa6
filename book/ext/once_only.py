"""Sphinx extension: what Sphinx, docutils and the theme would do again and again is done once.

- The table of contents beside a page differs from its neighbour's in which entry is the current
  one: it is made once for a folder (templates/sbt-sidebar-nav.html).
- A reference to a numbered figure of the same page looks in the tree at hand; Sphinx would load
  the whole page again for each.
- Code is written by one formatter; Sphinx would make one, with a style sheet, for each cell.
- Trees are searched without a generator at each level.

The pages stay the same to the last byte.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from docutils import nodes
from pygments.formatter import Formatter
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.builders import Builder
from sphinx.domains.std import StandardDomain
from sphinx.environment import BuildEnvironment
from sphinx.highlighting import PygmentsBridge

# --- table of contents ------------------------------------------------------------------------

ENTRY = '<li class="toctree-l1"><a class="reference internal" href="{}">'
CURRENT_ENTRY = (
    '<li class="toctree-l1 current active"><a class="current reference internal" href="#">'
)
PART = '<ul class="nav bd-sidenav">'
CURRENT_PART = '<ul class="current nav bd-sidenav">'
NESTED = "has-children"  # pages below pages are marked in more places


def mark(navigation: str, address: str) -> str:
    """The table of contents with the page at `address` as the current one, where it is listed."""
    before, entry, after = navigation.partition(ENTRY.format(address))
    if not entry:
        return navigation
    parts, _, entries = before.rpartition(PART)
    return parts + CURRENT_PART + entries + CURRENT_ENTRY + after


def unmark(navigation: str, address: str) -> str:
    """The table of contents of the page at `address` as a page that is not listed would show it."""
    entry = ENTRY.format(address)
    return navigation.replace(CURRENT_PART, PART).replace(CURRENT_ENTRY, entry)


class Navigation:
    """``html-page-context``: gives the template `navigation_of`; remembers a text per folder."""

    def __init__(self) -> None:
        self._unmarked: dict[tuple[Any, ...], str] = {}

    def __call__(
        self, app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any
    ) -> None:
        """Adds the function to the context of a page."""
        folder, _, name = pagename.rpartition("/")
        address = f"{name}{context['file_suffix']}"

        def navigation_of(generate: Callable[..., Any]) -> Callable[..., Any]:
            def remembered(**options: Any) -> Any:
                key = (folder, *sorted(options.items()))
                if key in self._unmarked:
                    return mark(self._unmarked[key], address)
                made = str(generate(**options))
                unmarked = unmark(made, address)
                # What cannot be made again from what is remembered is made by the theme each time.
                if NESTED not in made and mark(unmarked, address) == made:
                    self._unmarked[key] = unmarked
                return made

            return remembered if app.builder.name == "html" else generate

        context["navigation_of"] = navigation_of


# --- numbered references ----------------------------------------------------------------------


class TreeAtHand:
    """The environment for one page, whose own tree it does not load again."""

    def __init__(self, env: BuildEnvironment, docname: str, tree: nodes.document) -> None:
        self._env, self._docname, self._tree = env, docname, tree

    def __getattr__(self, name: str) -> Any:
        return getattr(self._env, name)

    def get_doctree(self, docname: str) -> nodes.document:
        """The tree of a page."""
        return self._tree if docname == self._docname else self._env.get_doctree(docname)


class NumberedReferences(StandardDomain):
    """Sphinx's own domain, with the tree at hand where a number is looked up."""

    def resolve_xref(
        self,
        env: BuildEnvironment,
        fromdocname: str,
        builder: Builder,
        typ: str,
        target: str,
        node: pending_xref,
        contnode: nodes.Element,
    ) -> nodes.Element | None:
        """As in `StandardDomain`."""
        if typ == "numref" and node.document is not None:
            env = TreeAtHand(env, fromdocname, node.document)
        return super().resolve_xref(env, fromdocname, builder, typ, target, node, contnode)


# --- code -------------------------------------------------------------------------------------


def share_formatters(app: Sphinx) -> None:
    """``builder-inited``: code with the same options is written by the same formatter."""
    bridge = getattr(app.builder, "highlighter", None)  # builders without pages have none
    if isinstance(bridge, PygmentsBridge):
        bridge.get_formatter = shared(bridge.get_formatter)


def shared(make: Callable[..., Formatter]) -> Callable[..., Formatter]:
    """`make`, which is called once for the same options."""
    made: dict[str, Formatter] = {}

    def get_formatter(**options: Any) -> Formatter:
        key = repr(sorted(options.items()))
        if key not in made:
            made[key] = make(**options)
        return made[key]

    return get_formatter


# --- trees ------------------------------------------------------------------------------------

FINDALL = nodes.Node.findall


def findall(
    self: nodes.Node,
    condition: Any = None,
    include_self: bool = True,
    descend: bool = True,
    siblings: bool = False,
    ascend: bool = False,
) -> Iterator[nodes.Node]:
    """As `docutils.nodes.Node.findall`."""
    if not (include_self and descend) or siblings or ascend:
        return FINDALL(self, condition, include_self, descend, siblings, ascend)
    if condition is None:
        condition = nodes.Node
    if isinstance(condition, type):
        return _instances(self, condition)
    return _matches(self, condition)


# The same walk twice: with a generator between it and the condition nothing would be gained.


def _instances(top: nodes.Node, kind: type) -> Iterator[nodes.Node]:
    if isinstance(top, kind):
        yield top
    stack = [iter(top.children)]
    while stack:
        for node in stack[-1]:
            if isinstance(node, kind):
                yield node
            if node.children:
                stack.append(iter(node.children))
                break
        else:
            stack.pop()


def _matches(top: nodes.Node, condition: Callable[[nodes.Node], bool]) -> Iterator[nodes.Node]:
    if condition(top):
        yield top
    stack = [iter(top.children)]
    while stack:
        for node in stack[-1]:
            if condition(node):
                yield node
            if node.children:
                stack.append(iter(node.children))
                break
        else:
            stack.pop()


def setup(app: Sphinx) -> dict[str, Any]:
    """Registers the extension."""
    nodes.Node.findall = findall
    app.add_domain(NumberedReferences, override=True)
    app.connect("builder-inited", share_formatters)
    app.connect("html-page-context", Navigation(), priority=400)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
