"""The worker, doctor and the row use the policy that the setting names."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fakes import BrightnessModel

from streamapp.app import create_app
from streamapp.cli.doctor_checks import State, check_weights
from streamapp.compose import Composer
from streamapp.errors import FetchError, SettingsError
from streamapp.models.ensemble import ModelReport
from streamapp.models.registry import build_models
from streamapp.obtain import Obtained
from streamapp.policy import DEFAULT_FILE, ModelOutcome, load_policy
from streamapp.reasons import Reason, Status
from streamapp.records import Event
from streamapp.settings import Settings, load_settings

TEXT = DEFAULT_FILE.read_text("utf-8")


def settings_with(folder: Path, old: str, new: str) -> Settings:
    file = folder / "policy.yaml"
    file.write_text(TEXT.replace(old, new))
    return load_settings({"STREAMAPP_POLICY_FILE": str(file), "STREAMAPP_MODELS": "nudenet"})


def test_the_worker_takes_the_policy_of_the_setting(tmp_path: Path) -> None:
    app = create_app(settings_with(tmp_path, "threshold: 0.5", "threshold: 0.625"))
    assert app.policy.threshold("mfd") == 0.625


def test_without_the_setting_the_worker_takes_the_one_in_the_package() -> None:
    assert create_app(load_settings({}, models=("nudenet",))).policy.sha256 == load_policy().sha256


def test_a_broken_policy_stops_the_worker_at_start_with_file_and_line(tmp_path: Path) -> None:
    settings = settings_with(tmp_path, "    threshold: 0.5", "    threshold: high")
    line = TEXT.splitlines().index("    threshold: 0.5") + 1
    with pytest.raises(SettingsError, match=rf"policy\.yaml:{line}: models\.mfd\.threshold: "):
        create_app(settings)


def test_a_broken_policy_is_a_failed_check_of_doctor(tmp_path: Path) -> None:
    check = check_weights(settings_with(tmp_path, "mode: enforce", "mode: on"))
    assert check.state is State.FAIL
    assert "models.nudenet.mode: must be 'enforce' or 'shadow'" in check.detail
    assert "streamapp policy check" in check.remedy


def test_a_model_that_the_policy_does_not_name_is_refused() -> None:
    settings = load_settings({})
    policy = replace(load_policy(), modes={})
    with pytest.raises(SettingsError, match=r"does not name nudenet: add `nudenet: \{mode: shadow\}`"):
        build_models(settings, policy)


@pytest.mark.parametrize(("mode", "to_be_moderated"), [("enforce", True), ("shadow", False)])
def test_a_model_in_shadow_fills_its_columns_and_leaves_the_row_alone(
    tmp_path: Path, mode: str, to_be_moderated: bool
) -> None:
    settings = settings_with(tmp_path, "nudenet:\n    mode: enforce", f"nudenet:\n    mode: {mode}")
    model = BrightnessModel()
    outcome = ModelOutcome(model.prefix, model.moderates, Status.NOT_AVAILABLE, 0.0, None)
    report = ModelReport(model.name, model.info, outcome, Reason.NOT_FOUND, (), 0.0, 0)
    row = Composer("1.0.0", load_policy(settings.policy_file)).compose(
        Event("7", "https://cdn.example.com/a.png", None, None, None),
        None,
        datetime.now(UTC),
        0.1,
        Obtained(None, FetchError(Reason.NOT_FOUND, "404")),
        [report],
    )
    assert row.MODEL_ATTRIBUTES.NN_TO_BE_MODERATED
    assert row.MODEL_ATTRIBUTES.PROVENANCE["models"]["nudenet"]["mode"] == mode
    assert row.TO_BE_MODERATED is to_be_moderated
