"""What can go wrong in the workshop, as exceptions whose message is one line: expected, found, what to do.

ConvertError               anything this program reports itself
├── UsageError             exit code 2: the command line asks for something that does not exist
├── ModelError             exit code 3: no model, or weights that cannot be loaded
│   ├── UnsupportedTower   a tower of a kind that cannot be converted
│   └── DoesNotFit         too large for the board asked for
├── CalibrationError       exit code 2: ranges are missing and no images were given to measure them on
├── EmitError              exit code 3: the converter's result is not what was asked for
│   └── AuditError         the finished file breaks one of the rules for full-integer graphs
└── LimitMissed            exit code 1: a measured figure falls short of the limit it should keep
"""


class ConvertError(Exception):
    """A failure that is reported in one line; `exit_code` is what the program ends with."""

    exit_code = 1


class UsageError(ConvertError):
    """The command line asks for something that does not exist or makes no sense."""

    exit_code = 2


class ModelError(ConvertError):
    """There is no such model, or its weights cannot be loaded."""

    exit_code = 3


class UnsupportedTower(ModelError):
    """The image tower is of a kind that cannot be converted."""


class DoesNotFit(ModelError):
    """The model's file, memory or image would be too large for the board."""


class CalibrationError(ConvertError):
    """Ranges are missing and no images were given to measure them on."""

    exit_code = 2


class EmitError(ConvertError):
    """The converter's result is not what was asked for."""

    exit_code = 3


class AuditError(EmitError):
    """The finished file breaks one of the rules for full-integer graphs."""


class LimitMissed(ConvertError):
    """A measured figure falls short of the limit it should keep."""
