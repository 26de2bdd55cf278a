"""What is trained, and how fast."""

from __future__ import annotations

import attrs
import pytest
import torch

from papermage_core.errors import ConfigError
from papermage_transformers.plugin import LoraOptions, TransformerEncoderConfig
from papermage_transformers.tuning import depths, layers


def rates(encoder, learning_rate=1.0):
    groups = encoder.parameter_groups(learning_rate, 0.1)
    by_id = {id(p): (g["lr"], g["weight_decay"]) for g in groups for p in g["params"]}
    return {name: by_id[id(p)] for name, p in encoder.model.named_parameters() if id(p) in by_id}


def test_every_family_has_its_layers_found(encoder, family):
    assert len(layers(encoder(family).model)) == 3
    assert set(depths(encoder(family).model).values()) >= {0, 1, 2, 3}


def test_biases_and_norms_have_no_weight_decay(encoder, family):
    for name, (_, decay) in rates(encoder(family)).items():
        one_dimensional = name.endswith("bias") or "norm" in name.lower()
        assert decay == (0.0 if one_dimensional else 0.1), name


def test_every_trained_parameter_is_in_one_group(encoder, family):
    made = encoder(family, layer_decay=0.5)
    grouped = [id(p) for g in made.parameter_groups(1.0, 0.1) for p in g["params"]]
    assert sorted(grouped) == sorted(id(p) for p in made.parameters() if p.requires_grad)


def test_learning_rates_fall_from_layer_to_layer(encoder):
    found = {name: rate for name, (rate, _) in rates(encoder("bert", layer_decay=0.5)).items()}
    assert found["encoder.layer.2.output.dense.weight"] == 1.0
    assert found["encoder.layer.1.output.dense.weight"] == 0.5
    assert found["encoder.layer.0.output.dense.weight"] == 0.25
    assert found["embeddings.word_embeddings.weight"] == found["embeddings.LayerNorm.bias"] == 0.125


def test_without_decay_all_learn_alike_and_after_the_last_layer_as_the_last(encoder):
    assert {rate for rate, _ in rates(encoder("bert")).values()} == {1.0}
    assert rates(encoder("modernbert", layer_decay=0.5))["final_norm.weight"] == (1.0, 0.0)


@pytest.mark.parametrize(("freeze", "trained_layers"), [(0, {0, 1, 2}), (1, {1, 2}), (3, set()), (-1, set())])
def test_embeddings_and_first_layers_are_frozen(encoder, freeze, trained_layers):
    made = encoder("bert", freeze_layers=freeze)
    trained = {name for name, p in made.model.named_parameters() if p.requires_grad}
    assert {int(name.split(".")[2]) for name in trained if name.startswith("encoder.layer")} == trained_layers
    assert any(name.startswith("embeddings") for name in trained) == (freeze == 0)


def test_more_frozen_layers_than_there_are_is_a_config_error(encoder):
    with pytest.raises(ConfigError, match=r"encoder\.freeze_layers: expected at most 3, .* got 4"):
        encoder("bert", freeze_layers=4)


def test_a_wholly_frozen_encoder_has_no_groups_and_computes_no_gradient(encoder, make_context, texts):
    made = encoder("bert", freeze_layers=-1, gradient_checkpointing=True).train()
    assert made.parameter_groups(1.0, 0.1) == []
    [windows] = made.windows([make_context(texts[0])], stride=0)
    assert not made(made.collate(windows)).requires_grad


def test_gradient_checkpointing_gives_the_same_gradients(encoder, make_context, texts):
    gradients = []
    for checkpointing in (False, True):
        made = encoder("bert", gradient_checkpointing=checkpointing, dropout=0.0, attention_dropout=0.0)
        made.train().double()  # in which no order of adding shows
        [windows] = made.windows([make_context(texts[0])], stride=0)
        made(made.collate(windows)).square().sum().backward()
        gradients.append({name: p.grad for name, p in made.named_parameters()})
    torch.testing.assert_close(*gradients)


def test_a_new_encoder_is_ready_for_training_with_dropout(model_folder, tmp_path):
    from papermage_transformers.plugin import TransformerEncoderConfig

    config = TransformerEncoderConfig(model_name_or_path=str(model_folder("bert"))).settle([])
    made = config.build()
    made.save(tmp_path)
    for encoder in (made, config.build(tmp_path)):
        assert all(module.training for module in encoder.modules())
    [dropout] = {m.p for n, m in made.named_modules() if isinstance(m, torch.nn.Dropout) and "self" not in n}
    assert dropout == 0.1


def test_dropouts_asked_for_are_those_of_the_model(encoder):
    made = encoder("bert", dropout=0.3, attention_dropout=0.2)
    assert made.model.config.attention_probs_dropout_prob == 0.2
    assert {m.p for n, m in made.named_modules() if isinstance(m, torch.nn.Dropout) and "self" not in n} == {0.3}


def test_only_lora_matrices_are_trained_and_a_checkpoint_restores_them(encoder, make_context, texts, tmp_path):
    pytest.importorskip("peft")
    from papermage_transformers.plugin import TransformerEncoderConfig

    options = {"lora": LoraOptions(rank=2), "cpu_precision": "float32"}
    made = encoder("bert", **options).train()
    trained = [name for name, p in made.named_parameters() if p.requires_grad]
    assert trained
    assert all("lora_" in name for name in trained)
    for parameter in made.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter)
    made.save(tmp_path)
    again = TransformerEncoderConfig(model_name_or_path="gone", boxes=False, **options).build(tmp_path)
    again.load_state_dict(made.state_dict())
    [windows] = made.windows([make_context(texts[0])], stride=0)
    batch = made.collate(windows)
    torch.testing.assert_close(again.eval()(batch), made.eval()(batch))
    assert len(again.parameter_groups(1e-3, 0.1)) == 1


def test_matrices_that_begin_at_nothing_learn_faster_than_a_model_that_is_tuned():
    usual = TransformerEncoderConfig(model_name_or_path="m")
    assert usual.default_learning_rate == 5e-5
    assert attrs.evolve(usual, lora=LoraOptions(rank=8)).default_learning_rate == 5e-4


def test_lora_targets_that_are_not_there_are_a_config_error(encoder):
    pytest.importorskip("peft")
    with pytest.raises(ConfigError, match=r"encoder\.lora\.targets: .* \(dense, key, query, value\)"):
        encoder("bert", lora=LoraOptions(rank=2, targets=("nothing_of_this_name",)))


@pytest.mark.parametrize(
    ("name", "adapted"),
    [("bert", {"query", "value"}), ("modernbert", {"Wqkv", "Wo"}), ("umt5", {"q", "k", "v", "o"}), ("fnet", None)],
)
def test_lora_goes_to_attention_where_peft_does_not_know_the_kind_of_model(encoder, name, adapted):
    pytest.importorskip("peft")
    if adapted is None:  # Fourier transforms
        with pytest.raises(ConfigError, match=r"encoder\.lora\.targets: expected .* \(dense, projection\)"):
            encoder(name, lora=LoraOptions(rank=2))
        return
    made = encoder(name, lora=LoraOptions(rank=2))
    trained = [key for key, value in made.named_parameters() if value.requires_grad]
    assert {key.split(".lora_")[0].rpartition(".")[2] for key in trained} == adapted
    assert len(trained) == 2 * 3 * len(adapted)  # matrices, layers
    assert not any("mlp" in key or "DenseReluDense" in key for key in trained)


def test_a_model_that_cannot_compute_activations_anew_is_told(encoder):
    with pytest.raises(ConfigError, match=r"encoder\.gradient_checkpointing: MPNetModel does not support"):
        encoder("mpnet", gradient_checkpointing=True)


def test_options_of_matrices_that_are_not_made_are_told(model_folder, caplog):
    name = str(model_folder("bert"))
    TransformerEncoderConfig(model_name_or_path=name).build()
    assert "lora" not in caplog.text
    TransformerEncoderConfig(model_name_or_path=name, lora=LoraOptions(alpha=4)).build()
    assert "encoder.lora.rank is 0: the whole model is trained" in caplog.text
