"""Fit captions: the global caption gives way first, at a sentence."""

import pytest

from shotstream.story.caption_fit import CaptionReport, UnknownWord, captions_of_script, check_captions, fit_caption
from shotstream.story.script import CastEntry, Script
from shotstream.story.shot_spec import ShotSpec, Steer

MOST = 40


def lost(caption: str) -> str:
    """An encoder that reads 40 letters."""
    return caption[MOST:]


def test_a_caption_that_fits_stays_as_it_is() -> None:
    fitted = fit_caption(lost, "A fox. ", 2, "It runs.")
    assert (fitted.caption, fitted.lost_global, fitted.lost_text) == ("A fox. shot2:It runs.", "", "")


@pytest.mark.parametrize(
    ("global_caption", "kept", "gone"),
    [
        ("A red fox. By a lake. At night. ", "A red fox. By a lake. ", "At night."),
        ("A red fox. By a very deep lake. At night.", "A red fox. ", "By a very deep lake. At night."),
        ("狐狸在森林里。夜晚的森林里有很多很多很多的星星。", "狐狸在森林里。", "夜晚的森林里有很多很多很多的星星。"),
        ("A fox, 3.5 feet tall, by a lake at night.", "A fox, 3.5 feet tall, ", "by a lake at night."),
        ("Incomprehensibilities-of-everything", "", "Incomprehensibilities-of-everything"),
    ],
    ids=["last", "all but the first", "without spaces", "words of one sentence", "one word"],
)
def test_the_global_caption_gives_way_at_a_sentence(global_caption: str, kept: str, gone: str) -> None:
    fitted = fit_caption(lost, global_caption, 0, "It runs now.")
    assert fitted.caption == f"{kept}shot0:It runs now."
    assert (fitted.lost_global, fitted.lost_text) == (gone, "")
    assert len(fitted.caption) <= MOST


def test_a_text_that_is_too_long_by_itself_stands_alone() -> None:
    fitted = fit_caption(lost, "A fox. ", 0, "It runs " + "on and " * 5 + "away.")
    assert fitted.caption.startswith("shot0:It runs on and on")
    assert (fitted.lost_global, fitted.lost_text) == ("A fox.", fitted.caption[MOST:])


def test_a_report_names_what_is_lost_and_what_to_do() -> None:
    report = CaptionReport("At night.", "over hill and dale and all the way home", (UnknownWord("sings", "swings"),))
    assert report.too_long == (
        'The model does not read the end of this caption, from "over hill and dale and all the way home" on. Shorten '
        'this caption. The model does not read the end of the global caption, from "At night." on. Shorten the global '
        "caption."
    )
    assert report.unknown_words == 'The model does not know "sings" (near: "swings"). Use other words.'
    assert (CaptionReport().too_long, CaptionReport().unknown_words) == ("", "")
    assert 'from "word word word word word word word word …" on' in CaptionReport(lost_text="word " * 20).too_long


def test_every_caption_of_a_script_is_reported_and_nothing_twice() -> None:
    def check(global_caption: str, text: str, index: int) -> CaptionReport:
        fitted = fit_caption(lost, global_caption, index, text)
        unknown = tuple(UnknownWord(word, None) for word in text.strip(".").split() if word[0] == "x")
        return CaptionReport(fitted.lost_global, fitted.lost_text, unknown)

    long = "and on " * 6
    shots = (
        ShotSpec("It xruns all day and then all night.", 2, steers=(Steer(1, long),)),
        ShotSpec("It xruns."),
        ShotSpec("It xruns all day and then all night."),
    )
    script = Script("A red fox. ", shots, cast=(CastEntry("fox.png", "xfox"),))
    found = list(check_captions(check, script.global_caption, captions_of_script(script)))
    assert [caption.where for caption, _ in found] == ["shot 1", "shot 1", "shot 3", "cast 1"]
    assert found[0][1] == CaptionReport("A red fox.", "t.", (UnknownWord("xruns", None),))
    assert found[1][1].lost_text
    assert found[2][1] == CaptionReport(lost_text="t.")
    assert found[3][1] == CaptionReport(unknown=(UnknownWord("xfox", None),))
