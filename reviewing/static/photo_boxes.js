// The boxes of one photo while a person mends them: {bbox, counts, name, category_id, guesses, score}; what is changed can be undone.

const SAME = 0.5; // overlap from which two boxes are of one product

export function overlap([ax, ay, aw, ah], [bx, by, bw, bh]) {
  const width = Math.min(ax + aw, bx + bw) - Math.max(ax, bx);
  const height = Math.min(ay + ah, by + bh) - Math.max(ay, by);
  const shared = Math.max(0, width) * Math.max(0, height);
  return shared / (aw * ah + bw * bh - shared);
}

// How central a point is in a box, 1 in the middle and 0 at the edge and beyond (centre-ness, Tian et al., FCOS, ICCV 2019).
export function centreness([x, y, width, height], [px, py]) {
  const left = (px - x) / width, top = (py - y) / height;
  if (left <= 0 || left >= 1 || top <= 0 || top >= 1) return 0;
  const ratio = (share) => Math.min(share, 1 - share) / Math.max(share, 1 - share);
  return Math.sqrt(ratio(left) * ratio(top));
}

export class PhotoBoxes {
  // `hidden` are boxes too faint to be shown; `faintAt` finds one where a person clicks. `revision` is the server's.
  constructor(boxes, hidden, revision = 0) {
    this.boxes = boxes;
    this.hidden = hidden;
    this.revision = revision;
    this.past = [];
    this.version = 0; // goes up with each change
    this.kept = 0; // the version that the server has
  }

  // Whether a person changed what the server does not have.
  get isChanged() {
    return this.version !== this.kept && (this.past.length > 0 || this.kept > 0);
  }

  get counted() {
    return this.boxes.filter((box) => box.counts);
  }

  // Call before each change.
  remember() {
    this.version += 1;
    this.past.push(this.boxes.map((box) => [box, { ...box }]));
  }

  // Takes back the last change; false where there is none.
  undo() {
    const last = this.past.pop();
    if (!last) return false;
    this.version += 1;
    this.boxes = last.map(([box, values]) => {
      for (const key of Object.keys(box)) delete box[key];
      return Object.assign(box, values);
    });
    return true;
  }

  add(box) {
    this.remember();
    this.boxes.push(box);
    return box;
  }

  change(box, values) {
    this.remember();
    Object.assign(box, values);
  }

  remove(box) {
    this.remember();
    this.boxes = this.boxes.filter((own) => own !== box);
  }

  // The hidden box that a person most probably means by a click; null where there is none.
  faintAt(point) {
    const free = this.hidden.filter((box) => !this.counted.some((own) => overlap(own.bbox, box.bbox) >= SAME));
    const rank = (box) => box.score * centreness(box.bbox, point);
    const best = free.reduce((found, box) => (rank(box) > (found ? rank(found) : 0) ? box : found), null);
    return best && { ...best, counts: true };
  }
}
