"""Photos of shelves that are made, with boxes and labels, in three ways. `make_photos` is their command.

- The drawn shop, in the contest's layout: `catalogue` (the products) -> `pack` (how one is drawn) -> `shelf` (where packs stand
  on a flat shelf, painted) -> `camera` (photographed).
- Composed shelves, from pictures of packages: `layout` (where packages stand) -> `rendering` (painted before a background of
  `backgrounds`, photographed) -> `composed_dataset` (many photos, in parallel), as `composition` asks for. The pictures are
  cut out of studio photos (`cutouts`) or drawn at random (`random_packs`).
- Real photos whose facings change places: `paste`.

All write their data sets by `coco_writer`. Knows nothing about detectors.
"""
