"""What is typed and what is printed.

Uses everything below, typer and rich. Start with `app`.
"""

from tuner.import_path import keep_out_current_folder
from tuner.streams import open_closed_streams

open_closed_streams()  # before anything is opened
keep_out_current_folder()  # before anything else is imported
