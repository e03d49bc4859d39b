"""The recipe of the embedded models: `python -m models.recipe models/pocket/recipe.toml --data FOLDER` trains, packs and scores one."""
