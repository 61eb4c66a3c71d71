"""What is typed and what is printed.

Uses everything below, typer and rich. Start with `app`.
"""
