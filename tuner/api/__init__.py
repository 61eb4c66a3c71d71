"""What `import tuner` offers: the commands as functions, and a run as an object.

Uses everything below but the command line. Start with `search`.
"""
