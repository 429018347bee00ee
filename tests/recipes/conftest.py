import pytest


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.setenv("WANDB_SILENT", "true")
    caplog.set_level("INFO")
    monkeypatch.setenv("NO_ALBUMENTATIONS_UPDATE", "1")
