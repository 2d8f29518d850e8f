"""`train` writes weights and a card that `predict` takes."""

from dataclasses import replace

from glaciercube.cli import main
from glaciercube.model.zoo import card_of
from glaciercube.simulate.materials import TYPICAL
from glaciercube.train import recipes, scenes


def test_it_writes_a_card_and_says_what_was_measured(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(scenes, "SIZE", 128)
    monkeypatch.setattr(recipes.spectra, "materials", lambda *a, **k: dict(TYPICAL))
    small = replace(recipes.RECIPES["extent"], width=6, scenes=3, held_out_scenes=2)
    monkeypatch.setattr(recipes, "RECIPES", {"extent": small})
    folder = tmp_path / "weights"
    code = main(["train", "extent", "--data", "any", "--out", str(folder), "--steps", "2"])
    assert code == 0
    card = card_of(folder / "extent.json")
    assert card.training["steps"] == 2
    assert "macro_f1" in capsys.readouterr().out


def test_missing_spectra_are_named(tmp_path, capsys):
    code = main(["train", "facies", "--data", str(tmp_path), "--out", str(tmp_path / "out")])
    assert code == 1
    assert "Sentinel-2_SR_training_data.csv" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
