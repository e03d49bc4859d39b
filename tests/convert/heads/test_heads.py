"""Exits' own heads: fitted in closed form against scikit-learn, trained, kept in a file, and unchanged by every rewrite."""

import dataclasses

import numpy as np
import pytest
import torch
from safetensors.torch import load, save
from sklearn.linear_model import Ridge
from sklearn.model_selection import LeaveOneOut, cross_val_predict
from torch.utils.flop_counter import FlopCounterMode

from calibration.samples import pixels
from convert.heads import ridge, training
from convert.heads.attending import embed, embed_tokens
from convert.heads.tokens import Place, mean_tokens, normed, of_place, reader
from convert.heads.training import Schedule, train
from convert.heads.training_set import Names, TrainingSet, view
from convert.model import head_files as files
from convert.rewrites import LADDER, rewrite
from convert.stages.run import walk
from convert.stages.stage import build_stages
from convert.support.errors import ModelError
from convert.support.progress import Silent
from tests.convert.conversion import images, random_head
from tests.convert.small import VARIANTS, hidden_states, pictures, random_inputs, tower_of, vit

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("name", ["exact GELU, ln_pre, class token", "quick GELU", "LayerScale", "average, norm before"])
def test_a_head_reads_the_mean_patch_token_behind_the_norm_under_the_whole_ladder(name):
    visual = vit(**VARIANTS[name])
    plain = tower_of(visual)
    head = random_head(plain, 40)
    tower = dataclasses.replace(plain, exit_heads={2: head})
    pixels = pictures(visual, 3)
    states, _ = hidden_states(visual, pixels)
    with torch.no_grad():
        pooled = visual.ln_post(states[1][:, 1:].mean(1))
    wanted = embed(head, pooled.numpy(), plain.activation)
    for ladder in (LADDER[:1], LADDER):
        rewritten, _ = rewrite(tower, random_inputs(tower), ladder)
        found = walk(build_stages(rewritten, (1, 2)), pixels)[1]["embedding"].numpy()
        np.testing.assert_allclose(found, wanted, atol=1e-4 * np.abs(wanted).max() * 10)


@pytest.mark.parametrize("class_token", [False, True], ids=["patches", "class token too"])
@pytest.mark.parametrize("name", VARIANTS)
def test_a_head_that_attends_is_pytorchs_attention_under_the_whole_ladder(name, class_token):
    """Queries are constants, keys the normed patch tokens, values a linear map of them: torch's own attention, one head of it a query."""
    visual = vit(**VARIANTS[name])
    plain = tower_of(visual)
    head = random_head(plain, 40, queries=3, class_token=class_token)
    pixels = pictures(visual, 3)
    states, _ = hidden_states(visual, pixels)
    queries, values = head.attention.queries, head.attention.values
    with torch.no_grad():
        tokens = visual.ln_post(states[1][:, 0 if class_token else 1 :])
        mixed = torch.nn.functional.scaled_dot_product_attention(
            queries.weight.expand(3, -1, -1), tokens, torch.nn.functional.linear(tokens, values.weight, values.bias), scale=1.0
        )
    wanted = embed(head, mixed.flatten(1).numpy(), plain.activation)
    np.testing.assert_allclose(embed_tokens(head, tokens, plain.activation), wanted, atol=1e-5 * np.abs(wanted).max())
    tower = dataclasses.replace(plain, exit_heads={2: head})
    for ladder in (LADDER[:1], LADDER):
        rewritten, _ = rewrite(tower, random_inputs(tower), ladder)
        stages = build_stages(rewritten, (1, 2))
        found = walk(stages, pixels)[1]
        np.testing.assert_allclose(found["embedding"].numpy(), wanted, atol=1e-3 * np.abs(wanted).max())
        plainly = walk(build_stages(dataclasses.replace(rewritten, exit_heads={}), (1, 2)), pixels)[1]
        assert torch.equal(found["variance"], plainly["variance"]), "the head changes nothing else"
    counted = FlopCounterMode(display=False)
    with counted, torch.no_grad():
        embed_tokens(head, tokens[:1], plain.activation)
    assert 2 * head.macs(plain.tokens - 1) == counted.get_total_flops()


def test_what_the_heads_see_is_what_they_read():
    visual = vit()
    tensors = images(visual, 5, 1)
    tower = tower_of(visual)
    pooled, embeddings = mean_tokens(tower, (1, 2), tensors, Silent())
    tokens, final_too = reader(tower, (1, 2))(torch.from_numpy((tensors.astype(np.float32) + 128) / 255))
    states, final = hidden_states(visual, torch.from_numpy((tensors.astype(np.float32) + 128) / 255))
    with torch.no_grad():
        for k in range(2):
            np.testing.assert_allclose(pooled[:, k], visual.ln_post(states[k][:, 1:].mean(1)).numpy(), atol=1e-4)
            np.testing.assert_allclose(normed(tokens[:, k], tower.norm_post), visual.ln_post(states[k]).numpy(), atol=1e-4)
    np.testing.assert_allclose(embeddings, final.numpy(), atol=1e-4)
    np.testing.assert_allclose(final_too, final.numpy(), atol=1e-4)


def test_the_ridge_is_scikit_learns_and_its_penalty_the_one_that_predicts_left_out_images_best():
    x = RANDOM.normal(size=(60, 12)).astype(np.float32)
    y = (x @ RANDOM.normal(size=(12, 6)) + 3 * RANDOM.normal(size=(60, 6))).astype(np.float32)
    unit = y / np.linalg.norm(y, axis=1, keepdims=True)
    head, penalty = ridge.fit(x, y)
    model = Ridge(alpha=penalty).fit(x, unit)
    np.testing.assert_allclose(embed(head, x, "gelu"), model.predict(x), atol=1e-5)
    errors = {
        p: float(((cross_val_predict(Ridge(alpha=p), x, unit, cv=LeaveOneOut()) - unit) ** 2).mean()) for p in ridge.PENALTIES
    }
    assert penalty == min(errors, key=lambda p: errors[p])


LEARNED = Schedule(views=4, passes=5, batch=32, rate=3e-3)


@pytest.fixture(scope="module")
def examples():
    """Images of four kinds, told by which quarter is bright and in which colour; the labels' vectors lie where the tower's answers do."""
    visual, random = vit(), np.random.default_rng(3)
    labels = random.integers(0, 4, 128)
    pictures_ = random.integers(60, 140, (128, 32, 32, 3)).astype(np.uint8)
    for picture, label in zip(pictures_, labels, strict=True):
        rows, columns = (slice(0, 16), slice(16, 32))[label // 2], (slice(0, 16), slice(16, 32))[label % 2]
        picture[rows, columns, label % 3] += 100
    tower = tower_of(visual)
    _, final = reader(tower, (1,))(torch.from_numpy(pictures_.astype(np.float32) / 255))
    mean = torch.nn.functional.normalize(final.mean(0), dim=0)  # all of them lie close to it; the labels are across
    vectors = torch.nn.functional.normalize(final[:4] - (final[:4] @ mean)[:, None] * mean, dim=1).numpy()
    return tower, TrainingSet((pictures_ ^ np.uint8(128)).view(np.int8), np.arange(128), (Names(vectors, labels),), 10.0)


def _pixels(examples):
    return torch.from_numpy(pixels(examples.images))


BOTH = (Place(1), Place(2, class_token=True))


def _embedded(head, tower, tokens):
    return embed_tokens(head, of_place(normed(tokens, tower.norm_post), head.attention.class_token), tower.activation)


def _answers(head, tower, examples, block):
    tokens, _ = reader(tower, (block,))(_pixels(examples))
    return (_embedded(head, tower, tokens[:, 0]) @ examples.lists[0].vectors.T).argmax(1)


def _better_than_the_commonest(found, wanted):
    """How much of what always giving the commonest answer gets wrong is right, 1 for all of it."""
    commonest = np.bincount(wanted).max() / len(found)
    return ((found == wanted).mean() - commonest) / (1 - commonest)


def test_training_learns_right_names(examples):
    tower, labelled = examples
    found = train(tower, BOTH, labelled, dataclasses.replace(LEARNED, lean=0.0, closeness=0.0), 0, Silent())
    assert tuple(found) == BOTH
    for place, head in found.items():
        assert head.attention.class_token is place.class_token
        assert _better_than_the_commonest(_answers(head, tower, labelled, place.block), labelled.lists[0].right) > 0.9


def test_without_right_names_training_learns_the_towers_answers(examples):
    tower, labelled = examples
    _, final = reader(tower, (1,))(_pixels(labelled))
    (names,) = labelled.lists
    unknown = dataclasses.replace(labelled, lists=(Names(names.vectors, np.full_like(names.right, -1)),))
    plan = dataclasses.replace(LEARNED, smallest_crop=1.0, passes=24, closeness=0.0)
    answers = (final.numpy() @ names.vectors.T).argmax(1)
    found = train(tower, (Place(2),), unknown, plan, 0, Silent())
    assert _better_than_the_commonest(_answers(found[Place(2)], tower, labelled, 2), answers) > 0.4


def test_training_comes_close_to_the_towers_embedding_whatever_the_names(examples):
    tower, labelled = examples
    tokens, final = reader(tower, (2,))(_pixels(labelled))
    final = final - final.mean(0)
    plan = dataclasses.replace(LEARNED, smallest_crop=1.0, passes=12)

    def closeness(plan):
        head = train(tower, (Place(2),), labelled, plan, 0, Silent())[Place(2)]
        found = torch.from_numpy(_embedded(head, tower, tokens[:, 0]))
        return float(torch.cosine_similarity(found - found.mean(0), final).mean())

    assert closeness(plan) > closeness(dataclasses.replace(plan, closeness=0.0)) + 0.1


def test_training_goes_on_where_it_was_broken_off_as_if_it_had_not_been(examples, tmp_path, monkeypatch):
    tower, labelled = examples
    monkeypatch.setattr(training, "ROOM", 100 * 2 * 2 * 17 * 64)  # a hundred images at a time
    plan, kept = dataclasses.replace(LEARNED, passes=1), tmp_path / "heads.state"
    whole = train(tower, BOTH, labelled, plan, 0, Silent())

    class Broken(Silent):
        def over(self, items, total, what):
            if what.startswith("view 3"):
                raise KeyboardInterrupt
            yield from items

    with pytest.raises(KeyboardInterrupt):
        train(tower, BOTH, labelled, plan, 0, Broken(), kept)
    assert kept.is_file()
    told = []

    class Telling(Silent):
        def step(self, what):
            told.append(what)

    again = train(tower, BOTH, labelled, plan, 0, Telling(), kept)
    assert told and "going on after view 2" in told[0]
    for done, head in whole.items():
        for name, layer in head.linear.items():
            assert torch.equal(layer.weight, again[done].linear[name].weight), (done, name)
    for other in (
        dataclasses.replace(labelled, logit_scale=11.0),
        dataclasses.replace(labelled, rows=labelled.rows[::-1].copy()),
    ):
        kept.unlink()
        with pytest.raises(KeyboardInterrupt):
            train(tower, BOTH, labelled, plan, 0, Broken(), kept)
        told.clear()
        train(tower, BOTH, other, plan, 0, Telling(), kept)
        assert not told, "another training set starts anew"
    kept.write_bytes(b"garbage")
    train(tower, BOTH, labelled, plan, 0, Telling(), kept)
    assert told == [f"{kept} cannot be read: training starts anew"]


def test_a_view_is_one_of_the_same_images_and_half_of_them_are_mixed(examples):
    tower, labelled = examples
    read, part = reader(tower, (1, 2)), torch.arange(128)

    def seen(seed):
        return view(tower, read, labelled, part, 0.5, torch.Generator().manual_seed(seed), list)

    one, same, other = seen(1), seen(1), seen(2)
    assert one.tokens.shape == (128, 2, 17, 64)
    assert torch.equal(one.tokens, same.tokens)
    assert not torch.equal(one.tokens, other.tokens)
    torch.testing.assert_close(one.right.sum(1), torch.ones(128))
    torch.testing.assert_close(one.final.norm(dim=1), torch.ones(128))
    assert torch.equal(one.right[:64].argmax(1), torch.from_numpy(labelled.lists[0].right[:64])), "the first batch is not mixed"
    assert (one.right[64:].amax(1) < 1).float().mean() > 0.3
    (names,) = labelled.lists
    fewer = Names(names.vectors[:3], np.where(names.right < 3, names.right, -1))
    both = dataclasses.replace(labelled, lists=(names, fewer))
    right = view(tower, read, both, part, 0.5, torch.Generator().manual_seed(1), list).right
    assert torch.equal(right, torch.cat([one.right, one.right[:, :3]], 1)), "what the second list has no name for has no share"


def test_heads_come_back_from_their_file(tmp_path):
    tower = tower_of(vit())
    linear, _ = ridge.fit(
        RANDOM.normal(size=(20, tower.width)).astype(np.float32),
        RANDOM.normal(size=(20, tower.embedding_size)).astype(np.float32),
    )
    heads = {4: random_head(tower, 32), 6: random_head(tower, 32, queries=2), 11: linear}
    heads[8] = random_head(tower, 32, queries=2, class_token=True)
    (tmp_path / files.FILE).write_bytes(files.to_bytes(heads))
    found = files.read(tmp_path, tower.width, tower.embedding_size)
    assert set(found) == set(heads)
    for done, head in heads.items():
        assert list(head.linear) == list(found[done].linear)
        assert found[done].attention is None or found[done].attention.class_token is (done == 8)
        for name, layer in head.linear.items():
            assert torch.equal(layer.weight.half().float(), found[done].linear[name].weight)
            assert torch.equal(layer.bias.half().float(), found[done].linear[name].bias)
    assert files.digest(found) == files.digest(heads) != files.digest({4: heads[4]}) != ""
    assert files.read(None, 1, 1) == files.read(tmp_path / "nowhere", 1, 1) == {}
    with pytest.raises(ModelError, match="expected"):
        files.read(tmp_path, tower.width + 1, tower.embedding_size)
    for wrong in ({"06.fc_2.weight": torch.ones(2, 2), "06.fc_2.bias": torch.ones(2)}, {"06.scores.weight": torch.ones(5, 1)}):
        (tmp_path / files.FILE).write_bytes(save({**load(files.to_bytes(heads)), **wrong}))
        with pytest.raises(ModelError, match="make it with: convert heads"):
            files.read(tmp_path, tower.width, tower.embedding_size)
    (tmp_path / files.FILE).write_bytes(b"garbage")
    with pytest.raises(ModelError, match="convert heads"):
        files.read(tmp_path, tower.width, tower.embedding_size)
