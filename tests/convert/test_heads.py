"""Exits' own heads: fitted in closed form against scikit-learn, trained, kept in a file, and unchanged by every rewrite."""

import dataclasses

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from sklearn.model_selection import LeaveOneOut, cross_val_predict

from convert.errors import ModelError
from convert.heads import files, ridge
from convert.heads.pooled import pooled_tokens
from convert.heads.training import Schedule, embed, train
from convert.progress import Silent
from convert.rewrites import LADDER, rewrite
from convert.stages import build_stages
from convert.walk import walk
from tests.convert.conversion import images, random_head
from tests.convert.small import VARIANTS, hidden_states, pictures, random_means, tower_of, vit

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
        rewritten, _ = rewrite(tower, random_means(tower), ladder)
        found = walk(build_stages(rewritten, (1, 2)), pixels)[1]["embedding"].numpy()
        np.testing.assert_allclose(found, wanted, atol=1e-4 * np.abs(wanted).max() * 10)


def test_what_the_heads_see_is_what_they_read():
    visual = vit()
    tensors = images(visual, 5, 1)
    tower = tower_of(visual)
    pooled, embeddings = pooled_tokens(tower, (1, 2), tensors, Silent())
    states, final = hidden_states(visual, torch.from_numpy((tensors.astype(np.float32) + 128) / 255))
    with torch.no_grad():
        for k in range(2):
            np.testing.assert_allclose(pooled[:, k], visual.ln_post(states[k][:, 1:].mean(1)).numpy(), atol=1e-4)
    np.testing.assert_allclose(embeddings, final.numpy(), atol=1e-4)
    own, _ = pooled_tokens(dataclasses.replace(tower, exit_heads={2: random_head(tower, 8)}), (1, 2), tensors, Silent())
    np.testing.assert_allclose(own, pooled, atol=1e-5)


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


def test_training_learns_what_can_be_learned_and_reruns_alike():
    labels = RANDOM.integers(0, 4, 3000)
    vectors = np.eye(4, 16, dtype=np.float32)
    centres = RANDOM.normal(size=(4, 10))
    x = (centres[labels] + 0.3 * RANDOM.normal(size=(3000, 10))).astype(np.float32)
    final = (vectors[labels] + 0.05 * RANDOM.normal(size=(3000, 16))).astype(np.float32)
    rest, held = slice(0, 2500), slice(2500, None)

    def trained(known):
        return train(x[rest], final[rest], known, vectors, 10.0, "gelu", 0, Silent(), Schedule(epochs=4))

    for known in (labels[rest].tolist(), None):
        found = embed(trained(known), x[held], "gelu")
        assert ((found @ vectors.T).argmax(1) == labels[held]).mean() > 0.9
    first, second = trained(None), trained(None)
    assert all(torch.equal(a.weight, b.weight) for a, b in zip(first.layers, second.layers, strict=True))


def test_heads_come_back_from_their_file(tmp_path):
    tower = tower_of(vit())
    linear, _ = ridge.fit(
        RANDOM.normal(size=(20, tower.width)).astype(np.float32),
        RANDOM.normal(size=(20, tower.embedding_size)).astype(np.float32),
    )
    heads = {4: random_head(tower, 32), 11: linear}
    (tmp_path / files.FILE).write_bytes(files.to_bytes(heads))
    found = files.read(tmp_path, tower.width, tower.embedding_size)
    assert set(found) == {4, 11}
    for done, head in heads.items():
        for mine, theirs in zip(head.layers, found[done].layers, strict=True):
            assert torch.equal(mine.weight.half().float(), theirs.weight)
    assert files.digest(found) == files.digest(heads) != files.digest({4: heads[4]}) != ""
    assert files.read(None, 1, 1) == files.read(tmp_path / "nowhere", 1, 1) == {}
    with pytest.raises(ModelError, match="widths"):
        files.read(tmp_path, tower.width + 1, tower.embedding_size)
    (tmp_path / files.FILE).write_bytes(b"garbage")
    with pytest.raises(ModelError, match="convert heads"):
        files.read(tmp_path, tower.width, tower.embedding_size)
