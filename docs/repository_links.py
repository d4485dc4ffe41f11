"""Hook of MkDocs: links that leave ``docs/`` lead to the repository's web page, or become plain text without one."""

import posixpath
import re
from typing import Any

LINK = re.compile(r"\[([^\]]+)\]\((\.\./[^)\s]+)\)")
BRANCH = "main"


def on_page_markdown(markdown: str, page: Any, config: Any, **_: Any) -> str:
    """Return the page with those links replaced; all others stay."""
    folder = posixpath.join("docs", posixpath.dirname(page.file.src_uri))

    def replaced(match: re.Match[str]) -> str:
        title, link = match.groups()
        target = posixpath.normpath(posixpath.join(folder, link))
        if target.startswith("docs/"):
            return match[0]
        return f"[{title}]({config.repo_url.rstrip('/')}/blob/{BRANCH}/{target})" if config.repo_url else title

    return LINK.sub(replaced, markdown)
