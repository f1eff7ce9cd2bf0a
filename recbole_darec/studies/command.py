"""What ``recbole-darec compare`` does: run a study here, and show it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

from recbole_darec.data.files import replacing
from recbole_darec.data.store import only_run
from recbole_darec.errors import DataError
from recbole_darec.studies.command_options import CompareOptions
from recbole_darec.studies.comparison import compared
from recbole_darec.studies.frame import stored_results
from recbole_darec.studies.plan import Plan, check_metrics, check_versions, make_plan
from recbole_darec.studies.processes import LocalProcesses
from recbole_darec.studies.ray_jobs import RayJobs
from recbole_darec.studies.resolved import Resolver
from recbole_darec.studies.results import Row, open_results, read_results
from recbole_darec.studies.runner import Executor, Failures, run_study
from recbole_darec.studies.study import Study
from recbole_darec.studies.tables import FORMS

__all__ = ["run_here", "shown", "take_results"]


def run_here(study: Study, path: Path, options: CompareOptions) -> Failures:
    """Run what a study lacks.

    Args:
        study: the study.
        path: of its store.
        options: of the command.

    Returns:
        What failed.

    Raises:
        UserError: the study or the store is at fault.
    """
    if not path.exists():  # a store is made for a study that can run
        _checked(study, _unread, {}, options)
    executor = _executor(options)
    if options.take_from:
        take_results(path, options.take_from)
    with closing(executor), open_results(path) as store, only_run(path, "compare"):
        plan = _checked(study, store.digest_of, store.rows(), options)
        check_versions(store, plan.keys, options.other_version)
        return run_study(
            study,
            store,
            executor,
            path.parent.absolute() / "runs",
            retry_failed=options.retry_failed,
        )


def take_results(path: Path, others: Sequence[Path]) -> None:
    """Put the finished runs of other stores into one, and say how many.

    Args:
        path: of the store, which is made where there is none.
        others: their files.

    Raises:
        DataError: a store is at fault.
    """
    for file in others:
        if not file.is_file():
            raise DataError(f"--take-from: there is no file {file}")
    with ExitStack() as opened:
        read = [opened.enter_context(read_results(file)) for file in others]
        with open_results(path) as store, only_run(path, "compare"):
            for other in read:
                taken = store.take(other)
                print(f"{taken} finished runs taken from {other.path}", file=sys.stderr)


def _checked(
    study: Study,
    digest_of: Callable[[Path], str],
    rows: Mapping[str, Row],
    options: CompareOptions,
) -> Plan:
    """Return a study's plan, once its runs are known to compute what is asked for."""
    plan = make_plan(study, Resolver(study.folder, digest_of), rows)
    check_metrics(study, plan, options.metrics_of(study))
    return plan


def _unread(path: Path) -> str:
    """Stand for a file's digest: whether a study can run does not depend on it."""
    return path.name


def _executor(options: CompareOptions) -> Executor:
    if options.ray_address is None:
        return LocalProcesses(options.jobs or 1)
    return RayJobs(options.ray_address, options.jobs)


def shown(study: Study, path: Path, options: CompareOptions) -> str:
    """Return a study's table, and write it where a file is named.

    Raises:
        UserError: there is nothing to show.
    """
    with stored_results(study, path, other_version=options.other_version) as results:
        table = compared(results, options.metrics_of(study), per_user=options.per_user)
    text = FORMS[options.form or options.form_of_out or "markdown"](table)
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        with replacing(options.out) as file:
            file.write(text.encode())
    return text
