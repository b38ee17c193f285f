"""What the tiny CLIP is made from: exact packages, their digests and licences, and the use of each."""

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What a package may be used for. Art of role TEST never reaches the training."""

    TEXT = "text"
    TRAIN = "train"
    TEST = "test"


@dataclass(frozen=True, slots=True)
class Package:
    """One npm package, pinned.

    Attributes:
        key: short name of the art set or text, and of its folder.
        name, version: as npm knows them.
        sha256: hex digest of the packed archive.
        licence: SPDX identifier of the content that is used.
        credit: who made it.
        members: the paths in the archive, or the folders ending in ``/``, that are unpacked.
    """

    key: str
    role: Role
    name: str
    version: str
    sha256: str
    licence: str
    credit: str
    members: tuple[str, ...]

    @property
    def archive_name(self) -> str:
        """The file name that ``npm pack`` gives, ``iconify-json-noto-1.2.9.tgz``."""
        return f"{self.name.removeprefix('@').replace('/', '-')}-{self.version}.tgz"


_ICONIFY = ("package/icons.json", "package/chars.json", "package/info.json")

PACKAGES: tuple[Package, ...] = (
    Package(
        "emojibase",
        Role.TEXT,
        "emojibase-data",
        "17.0.0",
        "d01d0e2ca4e22cb402679532155342c71e2e871f25c32223c013b8b166ebdf5a",
        "MIT",
        "Miles Johnson",
        ("package/en/data.json", "package/meta/groups.json"),
    ),
    Package(
        "cldr",
        Role.TEXT,
        "cldr-annotations-full",
        "48.2.0",
        "28576e51225deb51e3ddd734b0f824a0079682cb5d8c27faa9f68149317a14d1",
        "Unicode-3.0",
        "Unicode, Inc.",
        ("package/annotations/en/annotations.json",),
    ),
    Package(
        "noto",
        Role.TRAIN,
        "@iconify-json/noto",
        "1.2.9",
        "3e918d88fc945c0bb3d468dbace6f88caef67f01c9f0e7bcae0915a042e8f1ad",
        "Apache-2.0",
        "Google Inc. (Noto Emoji)",
        _ICONIFY,
    ),
    Package(
        "noto-v1",
        Role.TRAIN,
        "@iconify-json/noto-v1",
        "1.2.5",
        "2bf62c26c2c2884aa99e90aec942cdaee17a5921f05690694f4978ad4b017c37",
        "Apache-2.0",
        "Google Inc. (Noto Emoji, first version)",
        _ICONIFY,
    ),
    Package(
        "fluent-flat",
        Role.TRAIN,
        "@lobehub/fluent-emoji-flat",
        "1.1.0",
        "8f9113c027c7c20eced0070354715a4093a459b8bef6332b91d45f38c9bdb147",
        "MIT",
        "Microsoft Corporation (Fluent Emoji), packaged by LobeHub",
        ("package/assets/",),
    ),
    Package(
        "fluent-modern",
        Role.TRAIN,
        "fluentui-emoji",
        "1.3.0",
        "ec892e607e854859b812c7d827801756adc19955b0ef56d4ae8afcddd19492c5",
        "MIT",
        "Microsoft Corporation (Fluent Emoji), packaged by Mohammad Abu Mattar",
        ("package/icons/modern/",),
    ),
    Package(
        "emojione",
        Role.TRAIN,
        "@iconify-json/emojione",
        "1.2.3",
        "26a14f44284407e8bcde91799388dca2bfd91dbcd55a97f425524a1c5b73610e",
        "CC-BY-4.0",
        "Emoji One",
        _ICONIFY,
    ),
    Package(
        "fxemoji",
        Role.TRAIN,
        "@iconify-json/fxemoji",
        "1.2.2",
        "f3e72b3c59d05e1db03b7e308d55c0d05bd7ba3f625a90da1b79313c12858eef",
        "Apache-2.0",
        "Mozilla (Firefox OS Emoji)",
        _ICONIFY,
    ),
    Package(
        "twemoji",
        Role.TEST,
        "@twemoji/svg",
        "15.0.0",
        "1d2907557a422c7c4e3feca50ef915c39da1db3d76b4a4d7e73fb59bce4403c3",
        "CC-BY-4.0",
        "Twitter, Inc. and other contributors",
        ("package/",),
    ),
    Package(
        "openmoji",
        Role.TEST,
        "openmoji",
        "17.0.0",
        "55ee7d13485dec86e9f38c1f3a645a13382d33ff97c0cd845ee824b0aef45e68",
        "CC-BY-SA-4.0",
        "OpenMoji project, HfG Schwäbisch Gmünd",
        ("package/color/svg/",),
    ),
)

ART_SETS: tuple[str, ...] = tuple(package.key for package in PACKAGES if package.role is not Role.TEXT)
TRAIN_SETS: tuple[str, ...] = tuple(package.key for package in PACKAGES if package.role is Role.TRAIN)
TEST_SETS: tuple[str, ...] = tuple(package.key for package in PACKAGES if package.role is Role.TEST)
