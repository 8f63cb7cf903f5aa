"""Pages of HTML in one look: the live page and the report share templates, style and scripts."""
