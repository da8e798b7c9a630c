"""Which files a report is, and where they go."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gradfuzz.errors import BadInput
from gradfuzz.registry import near_miss
from gradfuzz.report import markdown
from gradfuzz.report.reading import Campaign, attach, find, read
from gradfuzz.store import Tables, write_whole

if TYPE_CHECKING:
    from gradfuzz.report.many import Many
    from gradfuzz.report.model import Model

FORMATS = ("html", "md", "latex", "csv", "json", "stryker")
DEFAULT = ("html", "md")


def write_default(tables: Tables, folder: Path) -> list[Path]:
    """``report.html`` and ``report.md`` in a campaign folder whose tables are already loaded."""
    return write_model(attach(tables, folder), folder, DEFAULT)


def write(folders: Sequence[Path], formats: Sequence[str] = DEFAULT, out: Path | None = None) -> list[Path]:
    """The report of one campaign, or over many, in each format. Returns the files, in the order of the formats.

    out: where they go; the folder itself if only one was given. Raises ``BadInput`` for what is no campaign or no format.
    """
    for name in formats:
        if name not in FORMATS:
            raise BadInput(f"there is no format '{name}'.{near_miss(name, FORMATS)} Use {', '.join(FORMATS)}")
    found = find(folders)
    if out is None and len(folders) > 1:
        raise BadInput("where shall a report over several folders go? Add --out FOLDER")
    campaigns = [read(folder) for folder in found]
    for folder, campaign in zip(found, campaigns, strict=True):
        if campaign.tables.mutants.empty:
            raise BadInput(f"{folder} has no row yet, so there is nothing to report: finish it with the same `gradfuzz run` and --resume")
    target = out or folders[0]
    target.mkdir(parents=True, exist_ok=True)
    if len(found) == 1:
        return write_model(campaigns[0], target, formats)
    from gradfuzz.report.many import Many

    return write_many(Many(campaigns), target, formats)


def write_model(campaign: Campaign, folder: Path, formats: Sequence[str]) -> list[Path]:
    from gradfuzz.report import exports, page, stryker
    from gradfuzz.report.model import Model
    from gradfuzz.report.rows import tables

    model = Model(campaign)
    written: list[Path] = []
    for name in formats:
        if name == "html":
            written.append(_text(folder / "report.html", page.render(model)))
        elif name == "md":
            written.append(markdown.write(campaign.tables, folder))
        elif name == "latex":
            written.append(exports.write_latex(tables(model), campaign.model, folder))
        elif name == "csv":
            written += exports.write_csv(tables(model), folder)
        elif name == "json":
            written.append(exports.write_json(tables(model), _about(model), folder))
        else:
            written.append(stryker.write(model, folder))
    return written


def write_many(many: Many, folder: Path, formats: Sequence[str]) -> list[Path]:
    from gradfuzz.report import exports, manypage, manytext

    written: list[Path] = []
    for name in formats:
        if name == "html":
            written.append(_text(folder / "report.html", manypage.render(many)))
        elif name == "md":
            written.append(_text(folder / "report.md", manytext.render(many)))
        elif name == "latex":
            written.append(exports.write_latex(many.exports(), f"{len(many.campaigns)} models", folder))
        elif name == "csv":
            written += exports.write_csv(many.exports(), folder)
        elif name == "json":
            written.append(exports.write_json(many.exports(), many.about(), folder))
        else:
            raise BadInput("the format 'stryker' is about one campaign: give its folder alone")
    return written


def _about(model: Model) -> dict[str, object]:
    return {"model": model.campaign.model, "manifest": model.campaign.tables.manifest}


def _text(path: Path, text: str) -> Path:
    write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    return path
