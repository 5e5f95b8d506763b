"""What runs at judgment: photos to named, scored boxes, with numpy, cv2 and onnxruntime alone.

**How ties are decided.** By rules, never at random; the same on every machine, except one sort of `weighted_boxes_fusion`:

- `boxes.nms`: of equal scores the box listed first counts as the better one (stable sort), as in torchvision.
- `merge.soft_nms`: of equal scores the box listed first is taken first (`argmax`).
- `merge.weighted_boxes_fusion`: before fusing, equal scores of a label come in the order of numpy's `argsort()[::-1]`
  (`merge._order_by_label`), and so does the result. It is the order of ensemble-boxes. As that sort is not stable, it may
  differ between processors and versions of numpy. A box that overlaps several fused boxes equally joins the one whose first
  box comes first (`merge._fuse`).
- `merge.merge`: of equal class evidence the category listed first is the label (`argmax`).
- `decode.decode`, `gate.choose_labels`, `gate.decide`: of equal probabilities the category listed first is the label.
- `gate.agree`: where classifier and detector are equally sure, the classifier's name is taken (`>=`); in the policies
  `override` and `stacked` a value exactly on the threshold keeps the detector's name (`>`).
- `gate.decide`: boxes, and further names, of equal score stay in the order in which they came (stable sort).
- `decode.stitch`: cut boxes of equal score are joined in the order listed (stable sort); of equally good partners the first
  (`argmax`). Of joined parts with the same best score, the one that the joining began with gives label and evidence.
- Exactly on a threshold: boxes whose IoU is the threshold are kept apart by NMS and WBF (`>`), but count as evidence
  (`merge.evidence`, `>=`); a score equal to `conf` is dropped; a name that completes the conformal set is plausible
  (`gate.agree`, `<=`).
"""
