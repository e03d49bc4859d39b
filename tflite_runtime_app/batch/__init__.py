"""Images that lie there, all of them to be answered, in their order."""
