"""Words of strangers (file names, labels, towers' names, other programs' messages) made harmless for where they are printed."""
