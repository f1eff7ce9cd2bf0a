"""``recbole-darec profile``: texts about users and items, by a language model or a template."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbole_darec.cli.server_arguments import add_server_arguments, server_from
from recbole_darec.errors import DataError, OptionError

if TYPE_CHECKING:
    from recbole_darec.profiles.plan import Plan

__all__ = ["add_parser", "run"]

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


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add the sub-command to the command line."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "profile",
        help="profiles of users and items, by a language model or a template",
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
    parser.add_argument("--dataset", required=True, metavar="NAME", help="the data set's name")
    parser.add_argument(
        "--data-path", default="dataset", metavar="DIR",
        help="the folder of data sets (default: dataset)",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=Path, metavar="PATH",
        help="folder for the profile files (default: the data set's own); of export, the file",
    )  # fmt: skip
    parser.add_argument(
        "--profiler", choices=("openai", "template"), default="openai",
        help="openai asks any server of that protocol (default); template asks nobody",
    )  # fmt: skip
    parser.add_argument(
        "--domain", default="general", metavar="NAME|DIR",
        help="instructions and columns: books, businesses, games, movies, general (default), or a "
        "folder of your own with item.md, user.md, domain.yaml",
    )  # fmt: skip
    _model(parser.add_argument_group("language model"))
    _prompts(parser.add_argument_group("prompts"))
    _running(parser.add_argument_group("run"))
    parser.set_defaults(handler=run)
    return parser


def _model(group: Any) -> None:
    group.add_argument("--model", metavar="NAME", help="the model's name on the server")
    group.add_argument(
        "--temperature", default="0", metavar="T", help="0 by default; none leaves it to the server"
    )
    group.add_argument(
        "--max-tokens", type=int, default=500, metavar="N", help="longest answer (default: 500)"
    )
    group.add_argument(
        "--structured", default="auto", metavar="auto|schema|json|none",
        help="how the server is held to JSON; auto (default) finds out what it knows",
    )  # fmt: skip
    group.add_argument(
        "--attempts", type=int, default=3, metavar="N",
        help="how often one prompt is asked before it counts as failed (default: 3)",
    )  # fmt: skip
    add_server_arguments(group, concurrency=16)
    group.add_argument(
        "--batch", action="store_true", help="use the Batch API: half the price, within a day"
    )
    group.add_argument(
        "--poll-seconds", type=float, default=30.0, metavar="S",
        help="pause between two looks at a batch (default: 30)",
    )  # fmt: skip


def _prompts(group: Any) -> None:
    group.add_argument(
        "--items-per-user", type=int, default=10, metavar="N",
        help="sampled items in a user's prompt (default: 10)",
    )  # fmt: skip
    group.add_argument(
        "--reviews-per-item", type=int, default=5, metavar="N",
        help="sampled reviews of an item without a description (default: 5)",
    )  # fmt: skip
    group.add_argument(
        "--text-words", type=int, default=150, metavar="N",
        help="words shown of a description or review (default: 150)",
    )  # fmt: skip
    group.add_argument(
        "--max-words", type=int, default=100, metavar="N",
        help="words that a profile is asked to keep to; half as many more are accepted "
        "(default: 100)",
    )  # fmt: skip
    group.add_argument(
        "--sample-seed", type=int, default=2020, metavar="N",
        help="of the sampled items and reviews (default: 2020)",
    )  # fmt: skip


def _running(group: Any) -> None:
    group.add_argument(
        "--dry-run", action="store_true",
        help="ask nothing: count prompts and tokens, estimate the cost, show three prompts",
    )  # fmt: skip
    group.add_argument(
        "--interactions-file", type=Path, metavar="FILE",
        help="with --dry-run: write which training interactions enter each prompt",
    )  # fmt: skip
    group.add_argument(
        "--max-cost", type=float, metavar="USD",
        help="stop before these profiles cost more, earlier runs included",
    )  # fmt: skip
    group.add_argument(
        "--prices", type=Path, metavar="FILE",
        help="a price table instead of properties/llm/prices.yaml",
    )  # fmt: skip
    group.add_argument(
        "--retry-failed", action="store_true", help="ask again what failed in an earlier run"
    )
    group.add_argument(
        "--store", type=Path, metavar="FILE",
        help="where answers are kept (default: NAME.store.sqlite beside the profile files)",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Make profiles; returns 0, or 3 where a question has no usable answer."""
    if args.action == "export":
        return _export(args)
    from recbole_darec.profiles.domains import read_domain
    from recbole_darec.profiles.inputs import read_material
    from recbole_darec.settings.layers import data_folder

    domain = read_domain(args.domain)
    folder = args.out
    if folder is None:
        folder = data_folder(args.data_path, args.dataset)
        if folder != Path(args.data_path) / args.dataset:
            raise OptionError(
                f"'{args.dataset}' is a data set of RecBole's own folder, where nothing is "
                "written: give --out=DIR, and train with --profile_dir=DIR"
            )
    plan = None if args.profiler == "template" else _plan(args, domain, folder)
    _check_dry_run(args)
    material = read_material(args.dataset, args.data_path)

    if plan is None:
        from recbole_darec.profiles.template import template_profiles

        report = template_profiles(material, domain)
        about = {"profiler": "template", "domain": domain.name}
    elif args.dry_run:
        from recbole_darec.profiles.dry_run import dry_run

        print(dry_run(material, plan, args.interactions_file))
        return 0
    else:
        from recbole_darec.profiles.generate import generate_profiles

        report = generate_profiles(material, plan)
        about = _about(args, plan)
        print(f"{args.dataset}: {args.model} ({report.seconds:.1f} s)\n{report.table()}")
    from recbole_darec.profiles.files import write_profile_files

    try:
        paths = write_profile_files(folder, material, report, about)
    except DataError:
        if report.complete:
            raise
        return EXIT_INCOMPLETE
    counts = ", ".join(f"{len(texts):,} {kind}s" for kind, texts in report.profiles.items())
    print(f"written ({counts}): " + ", ".join(str(path) for path in paths))
    if not report.complete:
        print(
            "some have no profile: run the same command again for those not answered, with "
            "--retry-failed for those that failed"
        )
        return EXIT_INCOMPLETE
    return 0


def _check_dry_run(args: argparse.Namespace) -> None:
    if args.interactions_file is not None and not args.dry_run:
        raise OptionError("--interactions-file goes with --dry-run")
    if args.dry_run and args.profiler == "template":
        raise OptionError(
            "--dry-run goes with --profiler=openai: a template asks and costs nothing"
        )


def _plan(args: argparse.Namespace, domain: Any, folder: Path) -> Plan:
    """Return the checked plan of a run."""
    from recbole_darec.data.store import store_path
    from recbole_darec.llm.client import check_server
    from recbole_darec.profiles.plan import Generation, Plan
    from recbole_darec.profiles.prompts import PromptOptions

    if not args.model:
        raise OptionError(
            "no language model: name one with --model=gpt-4o-mini, say, or make profiles without "
            "one with --profiler=template"
        )
    if not 0 < args.poll_seconds < float("inf"):
        raise OptionError(f"--poll-seconds must be a positive number, not {args.poll_seconds}")
    prompts = PromptOptions(
        items_per_user=args.items_per_user,
        reviews_per_item=args.reviews_per_item,
        text_words=args.text_words,
        max_words=args.max_words,
        seed=args.sample_seed,
    )
    plan = Plan(
        domain=domain,
        generation=Generation(
            model=args.model,
            temperature=_temperature(args.temperature),
            max_tokens=args.max_tokens,
            structured=args.structured,
            attempts=args.attempts,
            most_words=args.max_words + args.max_words // 2,
        ),
        store=args.store or store_path(folder, args.dataset),
        prompts=prompts,
        server=server_from(args),
        requests_per_minute=args.requests_per_minute,
        tokens_per_minute=args.tokens_per_minute,
        prices=args.prices,
        max_cost=args.max_cost,
        retry_failed=args.retry_failed,
        batch=args.batch,
        poll_seconds=args.poll_seconds,
    )
    if plan.price() is None and plan.max_cost is not None:
        raise OptionError(
            f"--max-cost: the price of {args.model} is unknown; give a table that has it with "
            "--prices=FILE"
        )
    if not args.dry_run:
        check_server(plan.server)  # before the data set is read
    return plan


def _temperature(text: str) -> float | None:
    if text.lower() == "none":
        return None
    try:
        return float(text)
    except ValueError:
        raise OptionError(f"--temperature must be a number or none, not '{text}'") from None


def _about(args: argparse.Namespace, plan: Plan) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "profiler": "openai",
        "model": plan.generation.model,
        "temperature": plan.generation.temperature,
        "domain": plan.domain.name,
        "prompts": asdict(plan.prompts),
    }


def _export(args: argparse.Namespace) -> int:
    from recbole_darec.data.store import store_path
    from recbole_darec.profiles.files import export_answers
    from recbole_darec.settings.layers import data_folder

    if args.out is None:
        raise OptionError("export needs --out=FILE.jsonl")
    store = args.store or store_path(data_folder(args.data_path, args.dataset), args.dataset)
    print(f"{export_answers(store, args.out):,} answers -> {args.out}")
    return 0
