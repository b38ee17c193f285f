"""The policy: what is unsafe, when a person must look, what the categories are. Data and pure rules.

`load_policy` reads it from a YAML file; `default.yaml` beside this module is the one in the package.
"""

from streamapp.policy.categories import Categories, categorise
from streamapp.policy.loading import DEFAULT_FILE, load_policy
from streamapp.policy.outcomes import Mode, ModelOutcome, row_to_be_moderated
from streamapp.policy.taxonomy import Taxonomy, TaxonomyClass
from streamapp.policy.values import NudeNetPolicy, Policy

__all__ = [
    "DEFAULT_FILE",
    "Categories",
    "Mode",
    "ModelOutcome",
    "NudeNetPolicy",
    "Policy",
    "Taxonomy",
    "TaxonomyClass",
    "categorise",
    "load_policy",
    "row_to_be_moderated",
]
