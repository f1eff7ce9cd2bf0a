"""``recbole-darec profile``: texts about users and items, by a language model or a template."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from recbole_darec.cli.command_options import add_options, options_from
from recbole_darec.errors import DataError, OptionError
from recbole_darec.llm.options import RateOptions, Server
from recbole_darec.profiles.options import GenerationOptions, PlanOptions, PromptOptions
from recbole_darec.settings.layers import data_folder
from recbole_darec.settings.options import CommandOptions, option, option_names

if TYPE_CHECKING:
    from recbole_darec.profiles.plan import Plan

__all__ = ["ProfileOptions", "add_parser", "run"]

EXIT_INCOMPLETE = 3

_DESCRIPTION = """\
Write a profile of every item and of every user, from the data set's tables, its reviews and its
training interactions; nothing of validation or test enters one.

  recbole-darec profile --dataset=mine --domain=books --model=gpt-4o-mini --dry-run
  recbole-darec profile --dataset=mine --domain=books --model=gpt-4o-mini --max-cost=5
  recbole-darec profile --dataset=mine --model=llama3 --base-url=http://localhost:11434/v1
  recbole-darec profile --dataset=mine --profiler=template
  recbole-darec profile export --dataset=mine --out=answers.jsonl

The key of the server is read from OPENAI_API_KEY, and from nowhere else."""


class ProfileOptions(CommandOptions):
    """Whose profiles are made, by whom, and where they go."""

    dataset: str = option(..., "The data set's name.", metavar="NAME")
    data_path: Path = option(Path("dataset"), "The folder of data sets.", metavar="DIR")
    out: Path | None = option(
        None,
        "Folder for the profile files (default: the data set's own); of export, the file.",
        metavar="PATH",
    )
    profiler: str = option(
        "openai",
        "openai asks any server of that protocol; template asks nobody.",
        choices=("openai", "template"),
    )
    domain: str = option(
        "general",
        "Instructions and columns: books, businesses, games, movies, general, or a folder of your "
        "own with item.md, user.md, domain.yaml.",
        metavar="NAME|DIR",
    )
    side: str = option(
        "both",
        "Whose profiles: of items and users, or of items alone, which sequential models need.",
        choices=("both", "item"),
    )
    store: Path | None = option(
        None, "Where answers are kept (default: NAME.store.sqlite beside the profile files)."
    )
    dry_run: bool = option(
        False, "Ask nothing: count prompts and tokens, estimate the cost, show three prompts."
    )
    interactions_file: Path | None = option(
        None, "With --dry-run: write which training interactions enter each prompt."
    )

    def check_together(self) -> None:
        """Refuse what goes with a dry run only, and a dry run that would count nothing."""
        if self.interactions_file is not None and not self.dry_run:
            raise OptionError("--interactions-file goes with --dry-run")
        if self.dry_run and self.profiler == "template":
            raise OptionError(
                "--dry-run goes with --profiler=openai: a template asks and costs nothing"
            )


def add_parser(subparsers: Any, text: str) -> None:
    """Add the sub-command to the command line; ``text`` is its line in the list of them all."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "profile",
        help=text,
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "action",
        nargs="?",
        choices=("run", "export"),
        default="run",
        help="run (default), or export every stored answer as JSON lines",
    )
    add_options(parser, ProfileOptions)
    model = parser.add_argument_group("language model")
    add_options(model, GenerationOptions, defaults={"model": None})  # a template has none
    server = parser.add_argument_group("server")
    add_options(server, Server)
    add_options(server, RateOptions)
    add_options(parser.add_argument_group("prompts"), PromptOptions)
    add_options(parser.add_argument_group("run"), PlanOptions, skip=option_names(RateOptions))
    parser.set_defaults(handler=run)


def run(args: argparse.Namespace) -> int:
    """Make profiles; returns 0, or 3 where a question has no usable answer."""
    given = options_from(args, ProfileOptions)
    if args.action == "export":
        return _export(given)
    asked = None if given.profiler == "template" else _asked(args)
    from recbole_darec.profiles.domains import read_domain
    from recbole_darec.profiles.inputs import read_material

    domain = read_domain(given.domain)
    folder = given.out
    if folder is None:
        folder = data_folder(str(given.data_path), given.dataset)
        if folder != given.data_path / given.dataset:
            raise OptionError(
                f"'{given.dataset}' is a data set of RecBole's own folder, where nothing is "
                "written: give --out=DIR, and train with --profile_dir=DIR"
            )
    plan = None if asked is None else _plan(given, asked, domain, folder)
    material = read_material(given.dataset, str(given.data_path))
    if given.side == "item":
        material = material.of_items_alone()

    if plan is None:
        from recbole_darec.profiles.template import template_profiles

        report = template_profiles(material, domain)
        about = {"profiler": "template", "domain": domain.name}
    elif given.dry_run:
        from recbole_darec.profiles.dry_run import dry_run

        print(dry_run(material, plan, given.interactions_file))
        return 0
    else:
        from recbole_darec.profiles.generate import generate_profiles

        report = generate_profiles(material, plan)
        about = _about(plan)
        model = plan.generation.model
        print(f"{given.dataset}: {model} ({report.seconds:.1f} s)\n{report.table()}")
    from recbole_darec.profiles.files import write_profile_files

    try:
        paths = write_profile_files(folder, material, report, about)
    except DataError:
        if report.complete:
            raise
        return EXIT_INCOMPLETE
    counts = ", ".join(f"{len(texts):,} {kind}s" for kind, texts in report.texts.items())
    print(f"written ({counts}): " + ", ".join(str(path) for path in paths))
    if not report.complete:
        print(
            "some have no profile: run the same command again for those not answered, with "
            "--retry-failed for those that failed"
        )
        return EXIT_INCOMPLETE
    return 0


class _Asked(NamedTuple):
    """What a language model is told, and how it is asked."""

    generation: GenerationOptions
    prompts: PromptOptions
    server: Server
    plan: PlanOptions


def _asked(args: argparse.Namespace) -> _Asked:
    """Return the checked options of a run that asks a language model."""
    if not getattr(args, "model", None):
        raise OptionError(
            "no language model: name one with --model=gpt-4o-mini, say, or make profiles without "
            "one with --profiler=template"
        )
    prompts = options_from(args, PromptOptions)
    most_words = prompts.max_words + prompts.max_words // 2
    return _Asked(
        options_from(args, GenerationOptions, most_words=most_words),
        prompts,
        options_from(args, Server),
        options_from(args, PlanOptions),
    )


def _plan(given: ProfileOptions, asked: _Asked, domain: Any, folder: Path) -> Plan:
    """Return the plan of a run, its price and its server checked."""
    from recbole_darec.data.store import store_path
    from recbole_darec.llm.client import check_server
    from recbole_darec.profiles.plan import Generation, Plan

    plan = Plan(
        **dict(asked.plan),
        domain=domain,
        generation=Generation(**dict(asked.generation)),
        store=given.store or store_path(folder, given.dataset),
        prompts=asked.prompts,
        server=asked.server,
    )
    if plan.price() is None and plan.max_cost is not None:
        raise OptionError(
            f"--max-cost: the price of {plan.generation.model} is unknown; give a table that has "
            "it with --prices=FILE"
        )
    if not given.dry_run:
        check_server(plan.server)  # before the data set is read
    return plan


def _about(plan: Plan) -> dict[str, Any]:
    return {
        "profiler": "openai",
        "model": plan.generation.model,
        "temperature": plan.generation.temperature,
        **({"thinking": thinking} if (thinking := plan.generation.thinking) else {}),
        "domain": plan.domain.name,
        "prompts": plan.prompts.model_dump(),
    }


def _export(given: ProfileOptions) -> int:
    from recbole_darec.data.store import store_path
    from recbole_darec.profiles.files import export_answers

    if given.out is None:
        raise OptionError("export needs --out=FILE.jsonl")
    folder = data_folder(str(given.data_path), given.dataset)
    store = given.store or store_path(folder, given.dataset)
    print(f"{export_answers(store, given.out):,} answers -> {given.out}")
    return 0
