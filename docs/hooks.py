# SPDX-License-Identifier: Apache-2.0
"""Pages of the site made from what stands elsewhere: READMEs, recipes, the public API."""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

import road_kd_seg
import road_kd_training

ROOT = Path(__file__).parents[1]
PAGES = {
    "README.md": "index.md",
    "training/README.md": "training.md",
    "training/docs/DATASETS.md": "datasets.md",
    "training/docs/COVERAGE.md": "coverage.md",
    "training/RESULTS.md": "results.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
}
"""Pages of the repository, and what they are called on the site."""
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)#:]+)(#[^)]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are not in docs/."""
    made = {site: relink(ROOT / page) for page, site in PAGES.items()}
    made["recipes.md"] = recipes()
    made["reference/runtime.md"] = reference("Runtime", road_kd_seg)
    made["reference/training.md"] = reference("Training", road_kd_training)
    for name, text in made.items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links of pages in docs/ that lead out of it become their text."""
    source = ROOT / "docs" / page.file.src_uri
    return relink(source) if source.exists() else markdown


def relink(page: Path) -> str:
    """A page's text, its links leading to the site's pages; a link to source code becomes its text."""

    def target(link: re.Match[str]) -> str:
        image, text, path, anchor = link.groups()
        found = (page.parent / path).resolve().relative_to(ROOT).as_posix()
        if found in PAGES or found.startswith("docs/"):
            return f"{image}[{text}]({PAGES.get(found, found.removeprefix('docs/'))}{anchor or ''})"
        return text

    return LINK.sub(target, page.read_text(encoding="utf-8"))


def recipes() -> str:
    """Every recipe, its comment first."""
    parts = ["# Recipes\n"]
    for path in sorted((ROOT / "training/recipes").glob("*.yaml")):
        parts.append(f"## {path.stem}\n\n```yaml\n{path.read_text(encoding='utf-8')}```\n")
    return "\n".join(parts)


def reference(title: str, package: Any) -> str:
    """The public names of a package, from their docstrings."""
    names = [name for name in package.__all__ if callable(getattr(package, name))]
    objects = [getattr(package, name) for name in names]
    return f"# {title}\n\n" + "\n\n".join(f"::: {one.__module__}.{one.__qualname__}" for one in objects)
