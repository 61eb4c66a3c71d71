"""What a search's winner is worth: its configurations trained again on fresh seeds, and the statistics of that.

Uses everything above but Ray. Start with `statistics`; `report` puts a run's confirmation together.
"""
