"""The whole page: every part's records put into the templates, with the pictures that they ask for."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined

from photos.data import Photo
from photos.score import DETECTION_SHARE
from reporting import (
    charts,
    curves,
    figures,
    gallery,
    gate_changes,
    health,
    label_changes,
    look_alikes,
    pictures,
    products,
    speed,
    trainings,
    verdicts,
)
from reporting.held_out import HeldOut
from reporting.pictures import View
from runs.atomic_write import replacing
from runs.record import commit


class Content(NamedTuple):
    """What the page shows, part by part, in its order."""

    worth: figures.Worth
    taught: trainings.Taught
    gallery: gallery.Gallery
    confusions: list[look_alikes.Confusion]
    changes: gate_changes.Changes
    products: products.ProductTable
    precision_recall: curves.PrecisionRecall
    reliability: curves.Reliability
    ablation: figures.Ablation
    health: health.Health
    speed: speed.Speed
    label_changes: list[str]


def content_of(held_out: HeldOut) -> Content:
    """All records of the page."""
    taught = trainings.taught(held_out)
    return Content(
        figures.worth_of(held_out),
        taught,
        gallery.gallery(held_out),
        look_alikes.confusions(held_out),
        gate_changes.changes(held_out),
        products.product_table(held_out),
        curves.precision_recall_of(held_out),
        curves.reliability_of(held_out),
        figures.ablation_of(held_out),
        health.health(held_out),
        speed.speed_of(held_out, taught.trainings),
        label_changes.label_changes(held_out),
    )


def views_of(content: Content) -> Iterator[View]:
    """Every picture that the page shows."""
    yield from (photo.view for photo in (*content.gallery.worst, *content.gallery.best))
    yield from content.products.examples.values()
    for confusion in content.confusions[: look_alikes.PAIRS]:
        yield from confusion.crops
    for changes in content.changes.shown.values():
        yield from (change.crop for change in changes)
    yield from (place.crop for place in content.health.unlabelled)


def write_page(held_out: HeldOut, out: Path) -> int:
    """Write the page to OUT, whole or not at all; returns its bytes. Raises ValueError for a photo that cannot be read."""
    content = content_of(held_out)
    photos: list[Photo] = list(held_out.folds.dataset.photos)
    encoded = pictures.encode(views_of(content), photos)
    text = rendered(held_out, content, encoded)
    with replacing(out) as (unfinished,):
        unfinished.write_text(text, encoding="utf-8")
    return out.stat().st_size


def rendered(held_out: HeldOut, content: Content, encoded: dict[View, pictures.Picture]) -> str:
    """The page as text. What is not in the templates is escaped, whatever a product is called."""
    environment = Environment(
        loader=PackageLoader("reporting"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["duration"] = duration
    environment.filters["slug"] = lambda text: text.replace(" ", "-")
    return environment.get_template("report.html").render(
        content._asdict(),
        held_out=held_out,
        names=held_out.names,
        pictures=encoded,
        kinds=verdicts.KINDS,
        most_pairs=look_alikes.PAIRS,
        detection_share=DETECTION_SHARE,
        made=time.strftime("%Y-%m-%d %H:%M"),
        commit=commit(),
        colours=charts.COLOURS,
    )


def duration(seconds: float) -> str:
    """Seconds as people read them.

    >>> duration(0.0314), duration(4.26), duration(75), duration(4000)
    ('31 ms', '4.3 s', '1.2 min', '1.1 h')
    """
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"
