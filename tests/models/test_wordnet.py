"""WordNet's nouns, read from lines as its own file has them."""

from __future__ import annotations

import pytest

from models.recipe.plan import RecipeError
from models.recipe.wordnet import FILE, INDEX, read

# Lines as data.noun has them: offset, file, n, count of words (hexadecimal), words, count of pointers, pointers, | gloss.
LINES = """  1 This line stands for the licence.
00000001 03 n 01 entity 0 000 | all there is
00000002 05 n 02 animal 0 beast 0 001 @ 00000001 n 0000 | it moves
00000003 05 n 01 pet 0 001 @ 00000001 n 0000 | it is kept
00000004 05 n 02 dog 0 domestic_dog 0 004 @ 00000002 n 0000 @ 00000003 n 0000 ~ 00000005 n 0000 + 00000009 v 0101 | it barks
00000005 05 n 0a poodle 0 a 0 b 0 c 0 d 0 e 0 f 0 g 0 h 0 i 0 001 @ 00000004 n 0000 | curly
00000006 05 n 01 Lassie 0 001 @i 00000004 n 0000 | a film's
"""


# And of index.noun: word, n, count of senses, count of pointers, pointers, count of senses, those tagged, offsets.
SENSES = """  1 This line stands for the licence.
dog n 2 3 @ ~ + 2 1 00000004 00000006
domestic_dog n 1 2 @ ~ 1 0 00000004
"""


@pytest.fixture
def tree(tmp_path):
    (tmp_path / FILE).write_text(LINES, "latin-1")
    (tmp_path / INDEX).write_text(SENSES, "latin-1")
    return read(tmp_path)


def test_words_and_what_lies_above_and_below(tree):
    assert tree.words["n00000004"] == ("dog", "domestic dog")
    assert len(tree.words["n00000005"]) == 10, "the count is hexadecimal"
    assert tree.ancestors("n00000005") == ["n00000004", "n00000002", "n00000003", "n00000001"]
    assert tree.descendants("n00000002") == ["n00000004", "n00000005", "n00000006"], "instances too, the verb not"
    assert tree.senses == {"dog": ("n00000004", "n00000006"), "domestic dog": ("n00000004",)}
    assert [tree.depth(f"n0000000{k}") for k in (1, 2, 4, 6)] == [0, 1, 2, 3]


def test_an_unknown_id_and_a_folder_without_the_file_are_told_in_a_line(tree, tmp_path):
    with pytest.raises(RecipeError, match="n12345678 is no noun of WordNet"):
        tree.ancestors("n12345678")
    with pytest.raises(RecipeError, match=r"data\.noun cannot be read as WordNet's nouns"):
        read(tmp_path / "nowhere")
