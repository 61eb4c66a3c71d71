"""The figures and tables of the sources, made again by recipes: trainings, and what is shown of them, published values beside ours."""
