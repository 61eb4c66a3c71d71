"""One page about a search, or about several side by side: its verdict, its figures and its tables, in one HTML file and as Markdown.

Uses everything above but Ray. Start with `write`.
"""
