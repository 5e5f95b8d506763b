"""The guide's table of several processes beside one: small figures are written as powers of ten, a missing one as a dash."""

from experiments.figures.ddp_table import ddp


def figure(value: float) -> dict[str, object]:
    return {"value": value, "low": None, "high": None, "unit": "share of the loss", "setting": "2 gloo processes; no interval"}


def test_a_family_is_a_row_with_both_differences() -> None:
    figures = {
        "ddp.rcnn.loss_difference": figure(1.28e-5),
        "ddp.student_rtdetr.loss_difference": figure(1.46e-4),
        "ddp.student_rtdetr.loss_difference_float64": figure(3.3e-14),
        "det.rcnn.map50": figure(0.5),
    }
    assert ddp(figures).splitlines()[2:] == [
        "| rcnn | 1.3e-05 | - | 2 gloo processes |",
        "| student rtdetr | 1.5e-04 | 3.3e-14 | 2 gloo processes |",
    ]
