"""The tiny CLIP that ships with the package: open_clip's own network, trained on emoji art and names.

It is for the demo, the tests and the training of CoOp prompts, and is never chosen silently. Expect
little of it on photographs. Where it comes from is in ``SOURCES.md``, what it reaches in
``report.json``; ``training/tiny_clip`` in the repository makes both, and the weights.
"""

from pathlib import Path

NAME = "tinyclip-emoji"
"""open_clip's name of the network: the stem of its config's file name, as ``add_model_config`` has it."""

FOLDER = Path(__file__).parent

CONFIG_FILE = f"{NAME}.json"
WEIGHTS_FILE = f"{NAME}.safetensors"
VOCABULARY_FILE = "tiny_bpe.txt.gz"
REPORT_FILE = "report.json"
SOURCES_FILE = "SOURCES.md"
NOTICE_FILE = "LICENCE-open_clip.txt"
