"""axe-core in a page: what keeps people out who see, hear or move differently."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from playwright.sync_api import BrowserContext, Page

SCRIPT = Path(__file__).parent / "axe" / "axe.min.js"
_RUN = """
async (rules) => {
  window.loadAxe?.();
  window.loadAxe = undefined;
  const only = rules.length ? {runOnly: {type: "rule", values: rules}} : {};
  const {violations} = await axe.run({resultTypes: ["violations"], ...only});
  return violations.map((found) => ({
    id: found.id, impact: found.impact, help: found.help,
    nodes: found.nodes.slice(0, 5).map((node) => `${node.html.slice(0, 160)} [${node.failureSummary}]`),
  }));
}
"""


def bring(context: BrowserContext) -> None:
    """Every page opened from now on can be asked. Sent once: 650 KB with each question cost more than the answer."""
    context.add_init_script("window.loadAxe = () => {" + SCRIPT.read_text("utf-8") + "\n};")


def violations(page: Page, *rules: str) -> list[str]:
    """What axe-core finds on the page, by all of its rules or by these."""
    found: list[dict[str, Any]] = page.evaluate(_RUN, list(rules))
    return [f"{page.url}: {one['id']} ({one['impact']}): {one['help']}\n  {_lines(one['nodes'])}" for one in found]


def _lines(nodes: list[str]) -> str:
    return "\n  ".join(" ".join(node.split()) for node in nodes)
