"""Speed of a bundle beside its floor and its peers, measured in one process."""
