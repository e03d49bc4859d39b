"""What long steps say arrives as it was meant."""

from convert.support.progress import OnTerminal


def test_brackets_in_what_is_said_are_no_markup(capfd):
    OnTerminal().step("2 .heic left out: pip install 'clip-rescue[heic]'; holiday [/x].jpg")
    assert "pip install 'clip-rescue[heic]'; holiday [/x].jpg\n" in capfd.readouterr().err
