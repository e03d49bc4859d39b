"""The subcommands: one file each, from parsed options to files and text. They hold no algorithm of their own."""
