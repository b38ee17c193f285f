"""The policy in the package: the old deployment's categories to the letter."""

from hypothesis import given
from hypothesis import strategies as st

from streamapp.models.nudenet_detections import LABELS
from streamapp.policy import DEFAULT_FILE, load_policy
from streamapp.policy.document import schema_text

POLICY = load_policy()
TAXONOMY = POLICY.taxonomy

# Primary → its classes; the order of the checkpoint is that of the numbers.
CLASSES = {
    "animals": {0: "animals"},
    "branding": {1: "branding"},
    "devotional": {2: "devotional"},
    "education": {3: "education"},
    "entertainment": {4: "entertainment"},
    "family-and-friends": {5: "family-and-friends"},
    "music": {6: "music and singing", 41: "instruments", 45: "music-celebrities"},
    "health": {7: "health and fitness"},
    "life-style": {8: "shopping", 9: "home decoration", 10: "fashion"},
    "inspirational": {11: "inspirational"},
    "automobiles": {12: "automobiles"},
    "sports-and-games": {13: "sports-and-games"},
    "adventure": {14: "adventure"},
    "art-and-creativity": {15: "art-and-creativity"},
    "animation": {16: "animation"},
    "gaming": {17: "gaming"},
    "dance": {18: "dance"},
    "beauty-and-grooming": {19: "beauty-and-grooming"},
    "gadgets-and-technology": {20: "gadgets-and-technology"},
    "selfies": {21: "selfies"},
    "violence": {
        22: "animal-cruelty",
        23: "dead-bodies-&-corpes",
        24: "physical-violence",
        25: "visually-disturbing",
        26: "weapons-&-firearms",
    },
    "national-asset": {27: "national-asset"},
    "politics": {28: "politics"},
    "problematic-content": {29: "problematic-content"},
    "news": {30: "news"},
    "harmful-acts": {31: "self-harm"},
    "food": {32: "recipe", 33: "street-food", 34: "beverages", 35: "desserts"},
    "travel": {
        36: "beach",
        37: "nature",
        38: "travel-vlogs",
        42: "monuments",
        43: "amusement-park",
        44: "travel-accomodation",
    },
    "celebration-and-wishes": {39: "anniversary", 40: "celebratory wishes"},
}


def test_there_are_46_classes_29_primaries_and_139_secondaries() -> None:
    assert len(TAXONOMY.classes) == 46
    assert len(TAXONOMY.primaries) == 29
    assert len(TAXONOMY.secondaries) == 139


def test_the_classes_are_in_the_checkpoint_s_order_with_their_primaries() -> None:
    expected = {
        index: (name, primary) for primary, classes in CLASSES.items() for index, name in classes.items()
    }
    assert dict(enumerate((one.name, one.primary) for one in TAXONOMY.classes)) == expected


def test_a_class_without_secondaries_of_its_own_has_itself() -> None:
    own = {one.name for one in TAXONOMY.classes if one.secondaries == (one.name,)}
    assert own == {
        *CLASSES["violence"].values(),
        *CLASSES["travel"].values(),
        *("national-asset", "politics", "problematic-content", "news"),
        *("beverages", "desserts", "instruments", "music-celebrities"),
    }


def test_secondaries_of_classes_that_share_them() -> None:
    secondaries = {one.name: one.secondaries for one in TAXONOMY.classes}
    assert secondaries["shopping"] == secondaries["home decoration"] == secondaries["fashion"]
    assert secondaries["anniversary"] == secondaries["celebratory wishes"]
    assert set(secondaries["recipe"]) & set(secondaries["street-food"]) == {"food-items"}
    assert "music-performance" in {*secondaries["entertainment"]} & {*secondaries["music and singing"]}
    assert "amusement-park" in secondaries["sports-and-games"]
    assert secondaries["self-harm"] == ("self-harm", "suicide")


def test_the_misspellings_are_data() -> None:
    assert {"dead-bodies-&-corpes", "travel-accomodation", "kabadi"} <= set(TAXONOMY.secondaries)


def test_every_sentence_is_a_sentence_of_its_own_that_a_small_text_tower_can_read() -> None:
    sentences = [*TAXONOMY.secondaries.values(), *(one.prompt for one in TAXONOMY.classes)]
    assert len(set(sentences)) == len(sentences)
    for sentence in sentences:
        assert sentence.endswith(".")
        assert 5 <= len(sentence.split()) <= 18, sentence


def test_the_thresholds() -> None:
    assert dict(POLICY.nudenet.unsafe_thresholds) == {
        "FEMALE_BREAST_EXPOSED": 0.25,
        "FEMALE_GENITALIA_EXPOSED": 0.25,
        "MALE_GENITALIA_EXPOSED": 0.25,
        "BUTTOCKS_EXPOSED": 0.25,
        "ANUS_EXPOSED": 0.25,
    }
    assert dict(POLICY.thresholds) == {"mfd": 0.5}
    assert TAXONOMY.min_class_probability == 0.05


def test_the_digest_is_the_one_that_rows_carry() -> None:
    # Whoever changes the policy changes its version, and these two lines.
    assert POLICY.version == "2026-11-22.2"
    assert POLICY.sha256 == "486c97846d86b21edfa0271335f4e1e0e2c8dd3b3ae7ca7abb8adbbdb2f5bdb4"


def test_the_schema_is_that_of_the_code() -> None:
    # To write it anew: DEFAULT_FILE.with_name("schema.json").write_text(schema_text(), "utf-8")
    assert DEFAULT_FILE.with_name("schema.json").read_text("utf-8") == schema_text()


@given(st.sampled_from(LABELS), st.floats(0, 1))
def test_nudenet_s_covered_classes_are_never_unsafe(label: str, score: float) -> None:
    if label.endswith("_COVERED") or label.startswith("FACE"):
        assert not POLICY.nudenet.is_unsafe(label, score)
