"""Results of benchmarks as tables in reStructuredText; does not need Sphinx."""

import json
import re
import statistics

SETS = {
    "cats_vs_dogs": "cats and dogs",
    "eurosat": "satellite tiles",
    "digits": "digits",
    "mnist": "MNIST",
}
_ERROR = " standard error"


def shown(name: str, result: dict) -> list[str]:
    """Return a result as lines of reStructuredText."""
    try:
        rows = _TABLES.get(name, _any)(result)
    except (AttributeError, IndexError, KeyError, TypeError):
        # A result in an unexpected form is shown as it is.
        text = json.dumps(result, indent=1)
        lines = ["   " + line for line in text.split("\n")]
        return [".. code-block:: json", "", *lines]
    titles = list(dict.fromkeys(title for row in rows for title in row))
    lines = [".. list-table::", "   :header-rows: 1", "   :class: measured", ""]
    for cells in [titles, *([row.get(title) for title in titles] for row in rows)]:
        for i, cell in enumerate(cells):
            lines.append(f"   {' ' if i else '*'} - {_escaped(_cell(cell))}".rstrip())
    return lines


def _digits(result) -> list[dict]:
    """Accuracy by number of labels, for pixels and for embeddings."""
    features = {
        "pixels": "pixels",
        "lenet5, untrained": "lenet5 untrained, standardised",
        "lenet5": "lenet5, standardised",
    }
    score = {
        (row["labels_per_class"], row["head"], row["features"]): (
            f"{row['accuracy_mean']:.1f} ± {row['accuracy_std']:.1f}"
        )
        for row in result["table"]
    }
    return [
        {"labels per class": labels, "head": head}
        | {title: score[labels, head, name] for title, name in features.items()}
        for labels, head in sorted({key[:2] for key in score})
    ]


def _frozen(result) -> list[dict]:
    """Accuracy of heads on features, with standard errors where they are known."""
    rows, last = [], None
    for row in result["table"]:
        images = SETS[row["set"]]
        cells = {"images": None if images == last else images}
        cells["features"], last = row["features"], images
        for head in row:
            if head not in ("set", "features", "seconds") and _ERROR not in head:
                error = row.get(head + _ERROR)
                more = "" if error is None else f" ± {error:.1f}"
                cells[head] = f"{row[head]:.1f}{more}"
        if "seconds" in row:
            cells["seconds"] = f"{row['seconds']:.1f}"
        rows.append(cells)
    return rows


def _sets(result) -> list[dict]:
    """Accuracy and seconds of contenders, with the image sets side by side."""
    sets = {key: title for key, title in SETS.items() if key in result}
    if not sets:
        raise KeyError("no known image set")
    contenders = dict.fromkeys(name for key in sets for name in result[key])
    rows = []
    for contender in contenders:
        cells = {"": contender}
        for key, title in sets.items():
            found = result[key].get(contender, {})
            accuracy = found.get("accuracy")
            if accuracy is not None:
                values = accuracy if isinstance(accuracy, list) else [accuracy]
                cells[title] = f"{100 * statistics.mean(values):.1f} %"
            if "seconds" in found:
                cells[f"{title}: s"] = found["seconds"]
        rows.append(cells)
    return rows


def _views(result) -> list[dict]:
    """Accuracy with and without views, and the gain with its standard error."""
    rows = []
    for row in result["table"]:
        cells = {key: row[key] for key in row if key not in ("draws", "gain", "error")}
        more = f" ± {row['error']:.1f}" if "error" in row else ""
        cells |= {"set": SETS[row["set"]], "gain": f"{row['gain']:+.1f}{more}"}
        rows.append(cells)
    return rows


def _search(result) -> list[dict]:
    return [
        {
            "way": row["contender"],
            "seconds": row["seconds"],
            "x ideal": row["x ideal"],
            "images embedded": row["images embedded"],
        }
        for row in result["rows"]
    ]


def _networks(result) -> list[dict]:
    """Images per second of contenders at the largest batch, networks side by side."""
    largest = max(row.get("batch", 0) for row in result["rows"])
    rows: dict[str, dict] = {}
    for row in result["rows"]:
        if row.get("batch", 0) == largest:
            cells = rows.setdefault(row["contender"], {"images/s": row["contender"]})
            speed = _cell(row["images/s"])
            ratio = row.get("x naive")
            cells[row["network"]] = f"{speed} ({ratio:.2f} x)" if ratio else speed
    return list(rows.values())


def _peers(result) -> list[dict]:
    """Accuracy and seconds of contenders, one image set after the other."""
    rows, last = [], None
    for row in result["rows"]:
        images = SETS[row["set"]]
        rows.append(
            {
                "images": None if images == last else images,
                "": row["contender"],
                "accuracy": f"{row['accuracy']:.1f} ± {row['spread']:.1f}",
                "seconds": row["seconds"],
                "x fastest": row["x fastest"],
            }
        )
        last = images
    return rows


def _speed(result) -> list[dict]:
    """Seconds of whole fits, and milliseconds of one step on kept activations."""
    columns = ("trained", "loop", "seconds", "ms", "x plain loop", "x usual loop")
    timed = [row for row in result["rows"] if "seconds" in row or "ms" in row]
    return [{column: row.get(column) for column in columns} for row in timed]


def _decode(result) -> list[dict]:
    return [
        {"step": name, "ms per image": found["median_ms"]}
        for name, found in result["results"].items()
    ]


def _recipes(result) -> list[dict]:
    """Mean accuracy of recipes, and how far they can be behind the best usual one."""
    rows: dict[str, dict] = {}
    for row in result["summary"]:
        behind = max(-row["worst gap"], 0.0)
        cells = rows.setdefault(row["recipe"], {"recipe": row["recipe"]})
        cells[row["backbone"]] = f"{row['mean accuracy']:.1f} ({behind:.1f})"
    return list(rows.values())


def _coverage(result) -> list[dict]:
    """Coverage in percent and mean width in points, beside those of the t test."""
    rows: dict[tuple, dict] = {}
    for row in result["table"]:
        what, _, t = row["interval of"].partition(", ")
        if what.endswith("accuracy"):
            set_name = f"{SETS.get(row['set'], row['set'])}, {row['backbone']}"
            line = rows.setdefault(
                (set_name, row["images"]), {"set": set_name, "images": row["images"]}
            )
            title = f"{what}, t test" if t else what
            shares = 100 * row["coverage"], 100 * row["mean width"]
            line[title] = "{:.0f}% ({:.0f} wide)".format(*shares)
    return list(rows.values())


def _stopping(result) -> list[dict]:
    """Means over draws, and the worst draw of early stopping against its probe."""
    return [
        {
            "network": row["backbone"],
            "images": SETS.get(row["set"], row["set"].replace("_", " ")),
            **{
                way: f"{row[way]:.1f}" for way in ("probe", "default", "early stopping")
            },
            "worst": f"{row['worst against probe']:+.1f}",
        }
        for row in result["summary"]
    ]


def _any(result) -> list[dict]:
    """Rows as the benchmark wrote them, or contenders of image sets."""
    rows = result.get("rows") or result.get("table")
    if rows is None:
        return _sets(result)
    return [{key.replace("_", " "): row[key] for key in row} for row in rows]


_TABLES = {
    "transfer_digits": _digits,
    "frozen_features": _frozen,
    "transfer_pocket": _frozen,
    "frozen_views": _views,
    "finetune_accuracy": _sets,
    "study_finetune_defaults": _sets,
    "study_early_stopping": _stopping,
    "search": _search,
    "throughput": _networks,
    "throughput_gpu": _networks,
    "end_to_end": _networks,
    "finetune_speed": _speed,
    "interval_coverage": _coverage,
    "finetune_peers": _peers,
    "decode": _decode,
    "study_head": _recipes,
    "few_labels": lambda result: result["means"],
}


def _cell(value) -> str:
    """Return one cell as text: a median with its quartiles, three digits."""
    if value is None:
        return ""
    if isinstance(value, dict) and "median" in value:
        low, high = (
            value.get(a, value.get(b)) for a, b in (("low", "min"), ("high", "max"))
        )
        middle = _cell(value["median"])
        if low is None or high is None or low == high:
            return middle
        return f"{middle} ({_cell(low)}-{_cell(high)})"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    if isinstance(value, int):
        return f"{value:,}"
    # Keep a sign and its number on one line.
    keep = "\N{NO-BREAK SPACE}"
    return str(value).replace(" ± ", f"{keep}±{keep}").replace(" %", f"{keep}%")


def _escaped(text: str) -> str:
    """Return text with its markup escaped."""
    return re.sub(r"([\\*`|_])", r"\\\1", text)


def source(name: str, result: dict) -> list[str]:
    """Return the notes of a benchmark, and when and on what it ran."""
    host = result.get("host", {})
    facts = [f"``benchmarks/{name.removesuffix('_gpu')}.py``"]
    if day := str(result.get("date") or host.get("date", ""))[:10]:
        facts.append(day)
    if device := host.get("gpu"):
        facts.append(_escaped(device))
    elif threads := host.get("threads"):
        facts.append(f"{threads} CPU thread{'s' * (threads > 1)}")
    elif cores := result.get("cpu_count"):
        facts.append(f"{cores} CPU cores")
    if torch := (result.get("versions") or host.get("versions") or host).get("torch"):
        facts.append(f"torch {torch.partition('+')[0]}")
    if result.get("draws"):
        facts.append(f"mean ± standard deviation of {result['draws']} draws")
    notes = [f"- {_escaped(note)}" for note in result.get("notes", [])]
    return [".. rst-class:: source", "", ", ".join(facts) + ".", "", *notes]
