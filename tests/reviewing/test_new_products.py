"""New products that a person names while confirming photos: none stays that no box has, and no id is used twice."""

import json
from collections.abc import Callable
from pathlib import Path

from starlette.testclient import TestClient

from recognition.inputs import Input
from recognition.tables import Products
from reviewing.access import Access
from reviewing.labelling import Guess, Labelling
from reviewing.server import application
from stage2_classifier.class_map import LARGEST_ID

Make = Callable[..., object]


def test_a_mistyped_product_goes_with_its_last_box_and_its_id_is_never_anothers(desk: Make, named: Path) -> None:
    visitor = TestClient(application(desk(), Access()), base_url="http://127.0.0.1:8000")  # type: ignore[arg-type]

    def products_after(name: str) -> dict[str, int]:
        body = {"name": "img_3.png", "boxes": [{"bbox": [40, 40, 10, 10], "name": name}]}
        offered = {row["name"]: row["id"] for row in visitor.post("/labelling/photo", json=body).json()["products"]}
        written = json.loads((named / "review" / "confirmed" / "annotations.json").read_text())["categories"]
        assert offered == {row["name"]: row["id"] for row in written}
        assert offered == {row["name"]: row["id"] for row in visitor.get("/state").json()["products"]}
        return offered

    model = {"Müsli", "Blåbær", "Te"}
    first, second, third, again = (products_after(name) for name in ("Safft", "Saft", "Te", "saft "))
    assert [set(names) - model for names in (first, second, third, again)] == [{"Safft"}, {"Saft"}, set(), {"Saft"}]
    assert first["Safft"] != second["Saft"] == again["Saft"]


def test_a_new_id_is_none_that_other_tools_refuse(tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    made = Labelling(
        [Input(tmp_path / "a.png", "a.png", False)], Products([0, LARGEST_ID], ["Te", "Mais"]), 0.3, tmp_path / "out"
    )
    made.guesses["a.png"] = Guess((64, 64))
    made.confirm("a.png", [{"bbox": [0, 0, 9, 9], "name": "Saft"}, {"bbox": [9, 9, 9, 9], "name": "Melk"}])
    assert made.names() == {0: "Te", LARGEST_ID: "Mais", 1: "Saft", 2: "Melk"}
