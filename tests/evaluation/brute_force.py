"""The published scores, written out pixel by pixel and picture by picture."""

import math

import numpy as np


def seg_pixel(pairs, classes, absent):
    """mIoU over one confusion matrix."""
    ious = []
    for c in range(classes):
        inter = union = 0
        for pred, gt in pairs:
            for p, g in zip(pred.ravel(), gt.ravel()):
                if g != 255:
                    inter += p == c and g == c
                    union += p == c or g == c
        if union:
            ious.append(inter / union)
        elif absent != 'skip':
            ious.append({'zero': 0.0, 'nan': math.nan}[absent])
    return sum(ious) / len(ious)


def seg_image(pairs, classes):
    """Mean over pictures of (mIoU, pixel accuracy) over the classes of each."""
    rows = []
    for pred, gt in pairs:
        seen = [(p, g) for p, g in zip(pred.ravel(), gt.ravel()) if g != 255]
        if not seen:
            continue
        ious = []
        for c in range(classes):
            inter = sum(p == c and g == c for p, g in seen)
            union = sum(p == c or g == c for p, g in seen)
            if union:
                ious.append(inter / union)
        rows.append((sum(ious) / len(ious), sum(p == g for p, g in seen) / len(seen)))
    return [sum(column) / len(rows) for column in zip(*rows)]


def depth(pixels, clamp):
    """All depth scores of ``(prediction, truth)`` pixels."""
    n = len(pixels)
    total = dict.fromkeys(('se', 'sle', 'rel', 'sqrel', 'abs', 'log10', 'e', 'd1', 'd2', 'd3'), 0.0)
    for d, g in pixels:
        d = d if clamp is None else max(d, clamp)
        safe = max(d, 1e-3)
        total['se'] += (d - g) ** 2
        total['sle'] += (math.log(safe) - math.log(g)) ** 2
        total['e'] += math.log(safe) - math.log(g)
        total['rel'] += abs(d - g) / g
        total['sqrel'] += (d - g) ** 2 / g
        total['abs'] += abs(d - g)
        total['log10'] += abs(math.log10(safe) - math.log10(g))
        for k in (1, 2, 3):
            total[f'd{k}'] += d > 0 and max(d / g, g / d) < 1.25**k
    mean = {key: value / n for key, value in total.items()}
    return dict(
        rmse=math.sqrt(mean['se']),
        rmse_log=math.sqrt(mean['sle']),
        abs_rel=mean['rel'],
        sq_rel=mean['sqrel'],
        abs_err=mean['abs'],
        log10=mean['log10'],
        silog=100 * math.sqrt(max(mean['sle'] - mean['e'] ** 2, 0)),
        d1=mean['d1'],
        d2=mean['d2'],
        d3=mean['d3'],
    )


def angle(u, v):
    """Degrees between two vectors by the law of cosines; 90 for a zero prediction."""
    length = math.sqrt(sum(x * x for x in u))
    if length == 0:
        return 90.0
    cosine = sum(a * b for a, b in zip(u, v)) / length / math.sqrt(sum(x * x for x in v))
    return math.degrees(math.acos(max(-1.0, min(1.0, cosine))))


def f_pooled(pairs, thresholds, beta2, transform=float):
    """Best F over thresholds with pixel counts pooled."""
    best = 0.0
    for t in thresholds:
        hits = positive = actual = 0
        for pred, gt in pairs:
            for p, g in zip(pred.ravel(), gt.ravel()):
                if g == 255:
                    continue
                on = transform(p) >= t
                hits += on and g == 1
                positive += on
                actual += g == 1
        if hits:
            precision, recall = hits / positive, hits / actual
            best = max(best, (1 + beta2) * precision * recall / (beta2 * precision + recall))
    return best


def f_per_picture(pairs, thresholds):
    """Best mean IoU and best F1 of mean precision and recall, on 8-bit maps, strict."""
    best_iou = best_f = 0.0
    for t in thresholds:
        rows = []
        for pred, gt in pairs:
            levels = np.floor(255 * pred.astype(np.float64)) / 255
            hits = sum(p > t and g == 1 for p, g in zip(levels.ravel(), gt.ravel()))
            positive, actual = sum(p > t for p in levels.ravel()), int((gt == 1).sum())
            union = positive + actual - hits
            rows.append(
                (
                    hits / (positive + 1e-12),
                    hits / (actual + 1e-12),
                    hits / union if union else 1.0,
                )
            )
        precision, recall, iou = (sum(column) / len(rows) for column in zip(*rows))
        best_iou = max(best_iou, iou)
        if precision + recall:
            best_f = max(best_f, 2 * precision * recall / (precision + recall))
    return best_iou, best_f


def balanced_bce(pairs, weight, logit):
    """Mean of the balanced cross-entropy over known pixels."""
    terms = []
    for pred, gt in pairs:
        for p, y in zip(pred.ravel(), gt.ravel()):
            if y == 255:
                continue
            x = logit(float(p))
            terms.append(
                weight * math.log1p(math.exp(-x)) if y else (1 - weight) * math.log1p(math.exp(x))
            )
    return sum(terms) / len(terms)
