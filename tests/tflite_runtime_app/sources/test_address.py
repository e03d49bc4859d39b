"""What is said of an address: never its password, whatever stands in it, and all else."""

import errno

import pytest

from tflite_runtime_app.errors import UsageError
from tflite_runtime_app.sources import libav, stream
from tflite_runtime_app.sources.address import ENCODE, hide_credentials, mistaken, shown


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rtsp://me:secret@cam:554/h264", "rtsp://***@cam:554/h264"),
        ("http://me:p@ss:w@cam/x", "http://***@cam/x"),
        ("cannot open 'HTTP://me@cam/x': no", "cannot open 'HTTP://***@cam/x': no"),
        ("rtsp://admin:pa/ss@127.0.0.1:8554/ch0", "rtsp://***@127.0.0.1:8554/ch0"),
        ("http://admin:hunter2#@127.0.0.1:9/x", "http://***@127.0.0.1:9/x"),
        ("rtsp://admin:p@ss#word@127.0.0.1:8554/ch0", "rtsp://***@127.0.0.1:8554/ch0"),
        ("rtsp://admin:pa?ss@cam/x", "rtsp://***@cam/x"),
        ("rtsp://admin:12/34@cam/x", "rtsp://***@cam/x"),
        ("rtsp://to/ken@cam:554/x", "rtsp://***@cam:554/x"),
        ("rtsp://us%40er:p%2Fw@[::1]:8/x", "rtsp://***@[::1]:8/x"),
        ("rtsp://admin:secret%40cam/x", "rtsp://***%40cam/x"),
        ("rtsp://admin:secret", "rtsp://***"),
        ("gopher://me:secret@cam/x", "gopher://***@cam/x"),
        ("http://proxy/?url=rtsp://me:secret@cam/x", "http://proxy/?url=rtsp://***@cam/x"),
        ("http://proxy/?url=rtsp%3A%2F%2Fme%3Asecret%40cam&n=1", "http://proxy/?url=rtsp%3A%2F%2F***%40cam&n=1"),
        ("rtsp://cam:554/x and rtsp://a:b@c", "rtsp://cam:554/x and rtsp://***@c"),
    ],
)
def test_a_password_is_hidden_up_to_the_last_at(text, said):
    assert hide_credentials(text) == said
    assert hide_credentials(said) == said, "what was hidden once stays as it is"
    assert "***" in shown(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("http://cam/v.cgi?user=me&password=secret&fps=5", "http://cam/v.cgi?user=me&password=***&fps=5"),
        ("rtsp://cam/user=me_password=secret_channel=1", "rtsp://cam/user=me_password=***_channel=1"),
        ("'http://cam/x?token=ab_c/d==': no answer", "'http://cam/x?token=***': no answer"),
        ("http://cam/x?api_key=a-b.c&e=1", "http://cam/x?api_key=***&e=1"),
        ("http://h/x?X-Amz-Signature=ab&X-Amz-Credential=c/2&X-Amz-Date=3", "http://h/x?X-Amz-Signature=***&X-Amz-Credential=***&X-Amz-Date=3"),
        ("http://cam/?passwort=a&wmsAuthSign=b&PHPSESSID=c&page=2", "http://cam/?passwort=***&wmsAuthSign=***&PHPSESSID=***&page=2"),
        ("http://cam/?loginuse=me&loginpas=secret&codec=h264", "http://cam/?loginuse=me&loginpas=***&codec=h264"),
        ("http://proxy/?url=http%3A%2F%2Fcam%2F%3Fpwd%3Dsecret%26n%3D1", "http://proxy/?url=http%3A%2F%2Fcam%2F%3Fpwd%3D***%26n%3D1"),
    ],
)  # fmt: skip
def test_a_secret_in_the_query_is_hidden(text, said):
    assert hide_credentials(text) == said


@pytest.mark.parametrize(
    "text",
    [
        "rtsp://cam/a@b.mp4", "rtsp://192.168.1.5:8080/a@b.mp4", "rtsp://[fe80::1]:554/x", "/dev/video0", "icon@2x.png",
        "http://cam:8080; then", "http://cam/?codec=h264&keyframe=1&grid=3", "http://cam: error, write to me@home",
    ],
)  # fmt: skip
def test_all_else_is_said(text):
    assert hide_credentials(text) == text


@pytest.mark.parametrize(
    "word", ["rtsp://me:my secret@cam/x", "me:secret@cam/x", "rtsp:/me:secret@cam", "rtsp:me:secret@cam", "//me:se/cret@cam/x", "mqtt://me:se\ncret@cam"]
)  # fmt: skip
def test_a_word_alone_may_hold_blanks_and_lack_its_scheme(word):
    assert "cret" not in shown(word)
    assert "cam" in shown(word)


@pytest.mark.parametrize(
    "word",
    [
        "rtsp://me:se/cret@cam/x", "rtsp://me:secret#@cam/x", "rtsp://me:s@e#cret@cam/x", "http://me:s?cret@cam/x",
        "http://me:my secret@cam/x", "http://me:secret%40cam/x", "http://me:secret", "http://", "http://cam:99999/",
    ],
)  # fmt: skip
def test_an_address_that_its_password_cuts_short_is_refused_with_what_to_do(word):
    with pytest.raises(UsageError, match="percent-encoded") as caught:
        stream.check(word)
    assert "cret" not in str(caught.value)


@pytest.mark.parametrize(
    "word", ["rtsp://me:p@ss@cam/x", "rtsp://me:se%2Fcret@cam:554/a@b", "http://cam?mail=me@home", "http://[::1]/x"]
)
def test_an_address_that_works_is_not_refused(word):
    assert not mistaken(word)


def test_a_password_that_may_have_cut_the_address_short_is_hinted_at_when_nothing_answers():
    opening = libav.Opening("x", timeout=1.0)
    for error in (OSError(errno.EIO, "I/O"), OSError(errno.ETIMEDOUT, "late"), OSError(errno.ECONNREFUSED, "Connection refused")):
        said = str(libav.explained("rtsp://me:p@se/cret@cam/x", error, opening))
        assert said.startswith("rtsp://***@cam/x: ")
        assert said.endswith(ENCODE)
        assert "percent" not in str(libav.explained("rtsp://me:secret@cam/x", error, opening))
