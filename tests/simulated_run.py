"""A run of run.py without models: an ensemble, and a pipeline with a clock of its own."""

from constant_models import CATEGORIES

from fusion.ensemble import ClassifierMember, Ensemble, Member, Part, parts_of
from submission import run

VIEWS = [{"size": 64}, {"size": 64, "flip": True}, {"size": 96}]


def ensemble(**values: object) -> Ensemble:
    """A detector of three views, one of one view, a classifier of two."""
    return Ensemble(
        CATEGORIES,
        [Member("one.onnx", views=VIEWS), Member("all.onnx", weight=0.0, evidence_weight=1.0, views=VIEWS[:1])],
        classifiers=[ClassifierMember("shelf.onnx", views=[{}, {"flip": True}])],
        **values,
    )


class Simulated:
    """A pipeline and a clock without models: each part takes the seconds that `cost(photo, part)` says."""

    def __init__(
        self, budget: float, cost: object, reading: object = lambda photo: 0.0, fails: object = lambda photo, part: False
    ) -> None:
        """`reading`: seconds that a thread needs for a photo, beside the work on those before; `fails`: whether a part does."""
        self.reading, self.fails = reading, fails
        self.ensemble = ensemble(time_budget_s=budget)
        self.parts, self.needed = parts_of(self.ensemble)
        self.cost, self.now, self.spent, self.naming_share, self.shares = cost, run.STARTED, {}, 1.0, []

    def run(self, photos: int) -> list[list[Part]]:
        """The parts done on each photo that is covered."""
        deadline, done, self.read = run.Deadline(self, photos, lambda: self.now), [], self.now
        for photo in range(photos):
            if not deadline.next_photo():
                continue
            deadline.photo_read(self.take(photo))
            done.append([])
            self.shares.append(self.naming_share)
            for part in (part for part in self.parts if deadline.allows(part)):
                self.spent[part] = self.cost(photo, part) * (self.naming_share if part.kind == "classifiers" else 1.0)
                self.now += self.spent[part]
                done[-1].append(part)
                if self.fails(photo, part):
                    deadline.failed(part, MemoryError())
            self.now += 0.01
            deadline.photo_done()
        return done

    def take(self, photo: int) -> float:
        """Wait for the thread, and tell for how long it read."""
        self.read += self.reading(photo)
        self.now = max(self.now, self.read)
        return self.reading(photo)

    @property
    def seconds(self) -> float:
        return self.now - run.STARTED
